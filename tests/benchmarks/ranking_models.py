"""The models that candidates are ranked with: the demo's, a larger one with random weights, or one of a model store."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from model_store.demo import MODELS
from model_store.errors import UserError
from model_store.pictures import PictureSize
from model_store.prompts import PromptSet
from model_store.registry.manifest import Labels, Manifest, Serving, Training
from model_store.registry.registry import Registry
from tests.benchmarks.vllm import World

LARGE = "70m"
_KV_CACHE_MIB = 1024


@dataclass(frozen=True)
class Ranked:
    """A ranker in a model store."""

    registry: Registry
    manifest: Manifest

    @cached_property
    def prompts(self) -> PromptSet:
        return self.registry.prompts(self.manifest)

    @cached_property
    def weights(self) -> Path:
        return self.registry.local_folder(self.manifest)

    @property
    def generating(self) -> Manifest:
        """The same weights as a generating server has them, which answers chats."""
        serving = self.manifest.serving.model_copy(update={"architecture": None})
        return self.manifest.model_copy(update={"serving": serving})

    def __str__(self) -> str:
        size, count = self.manifest.picture, self.manifest.training.parameters
        return f"{self.manifest.id}, {count / 1e6:.1f}M parameters, pictures of {size.width} x {size.height} pixels"


def open_model(name: str, folder: Path) -> Ranked:
    """The model that the command line names.

    Args:
        name: `demo`, `70m`, or the folder of a ranker's version in a model store.
        folder: receives what has to be made.

    Raises:
        UserError: it is no ranker that a pooling server can serve.
    """
    if name == LARGE:
        return _random_model(folder)
    if name == "demo":
        registry, reference = Registry(MODELS), "demo-ranker"
    else:
        path = Path(name).absolute()
        registry, reference = Registry(path.parents[1]), f"{path.parent.name}@{path.name}"
    manifest = registry.get(reference)
    if manifest.role != "ranker" or manifest.serving.architecture is None or manifest.labels is None:
        raise UserError(f"{manifest.id} is no ranker with a scoring architecture and label tokens")
    return Ranked(registry, manifest)


def _random_model(folder: Path) -> Ranked:
    """About 70 million random parameters: as fast as trained ones, and nothing else."""
    import torch

    from model_store.msr.scratch.architecture import NO, YES, Sizes, new_model, train_tokenizer, write_checkpoint
    from model_store.msr.scratch.publish import RANKER_ARCHITECTURE

    sizes = Sizes(
        hidden=640,
        layers=11,
        heads=10,
        kv_heads=2,
        mlp=1792,
        vision_hidden=384,
        vision_layers=8,
        vision_heads=6,
        vision_mlp=1536,
        picture=PictureSize(160, 224),
    )
    world, prompts = World(), PromptSet.built_in("compact")
    tokenizer = train_tokenizer([prompts.rank_item(view) for view in world.views.values()], sizes.vocabulary)
    model = new_model(tokenizer, sizes, seed=0)
    write_checkpoint(folder / "weights", model, tokenizer, sizes, torch.float16)
    yes_id, no_id = tokenizer.convert_tokens_to_ids([YES, NO])
    registry = Registry(folder / "models")
    manifest = Manifest(
        name="random-70m",
        version=1,
        role="ranker",
        labels=Labels(yes_id=yes_id, no_id=no_id),
        picture=sizes.picture,
        training=Training(parameters=sum(weight.numel() for weight in model.parameters())),
        serving=Serving(
            max_model_len=sizes.positions,
            dtype="float32",
            architecture=RANKER_ARCHITECTURE,
            cpu_kv_cache_mib=_KV_CACHE_MIB,
        ),
    )
    return Ranked(registry, registry.add(manifest, prompts.folder, folder / "weights"))
