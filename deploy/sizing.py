"""Computes how fast a GPU ranks and summarizes, and the memory of a model: the table of docs/operating/sizing.md.

Nothing here is measured on a GPU. The lengths of prompts are measured (`python -m tests.benchmarks.tokens`), the shapes
of models are those of their published configurations, and the figures of GPUs are those of their data sheets. What
lies between is arithmetic and one assumption, `--utilization`. Measure your own with `make bench-recommend`.

    python deploy/sizing.py
    python deploy/sizing.py --user-tokens 900 --candidate-tokens 300 --utilization 0.3
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BYTES = 2
"""Of a weight and of an entry of the KV cache: bfloat16."""
GIB = 2**30


@dataclass(frozen=True)
class Model:
    """A transformer for text and the vision tower before it, as their configurations name their sizes."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    vision_layers: int
    vision_hidden: int
    vision_intermediate: int
    vocabulary: int = 151_936

    @property
    def text_parameters(self) -> int:
        """Parameters that every token is multiplied with; the embeddings are only looked up."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def vision_parameters(self) -> int:
        return self.vision_layers * (4 * self.vision_hidden**2 + 2 * self.vision_hidden * self.vision_intermediate)

    @property
    def parameters(self) -> int:
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.text_parameters + self.vision_parameters + embeddings

    @property
    def kv_bytes(self) -> int:
        """Bytes of the KV cache for one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim * BYTES

    def prefill(self, tokens: float, behind: float) -> float:
        """Floating-point operations for `tokens` new tokens behind a prefix of `behind` that is in the cache."""
        attention = 4 * self.layers * self.heads * self.head_dim * (behind + tokens / 2)
        return tokens * (2 * self.text_parameters + attention)


@dataclass(frozen=True)
class Gpu:
    """Of the data sheet: dense bfloat16 operations a second, bytes a second, bytes."""

    name: str
    flops: float
    bandwidth: float
    memory: float


@dataclass(frozen=True)
class Prompts:
    """Lengths in tokens. `picture` is what the language model sees; the tower sees four times as many patches."""

    user: float
    candidate: float
    picture: float
    fold: float
    answer: float


MODELS = (
    Model("0.5B", 24, 896, 4864, 14, 2, 64, True, 24, 1024, 4096),
    Model("2B", 28, 2048, 6144, 16, 8, 128, True, 24, 1024, 4096),
    Model("4B", 36, 2560, 9728, 32, 8, 128, True, 24, 1024, 4096),
    Model("8B", 36, 4096, 12288, 32, 8, 128, False, 27, 1152, 4304),
)
"""Qwen2.5-0.5B with the vision tower of the next one; Qwen3-VL-2B, -4B and -8B."""
GPUS = (
    Gpu("L4", 121e12, 300e9, 24e9),
    Gpu("L40S", 362e12, 864e9, 48e9),
    Gpu("A100 80GB", 312e12, 2039e9, 80e9),
    Gpu("H100 SXM", 989e12, 3350e9, 80e9),
)
MEASURED = Prompts(user=561, candidate=127, picture=49, fold=493, answer=96)
"""movielens-posters with the built-in prompts; a picture of 224 x 224 pixels, 32 x 32 of which are one token."""
CANDIDATES = 50
"""In a request: `recommend.retrieve`."""
IN_FLIGHT = 8
"""Requests that a ranker works on at the same time."""
BATCH_TOKENS = 16_384
"""New tokens that vLLM computes at once: what `--max-num-batched-tokens` is about, by default, on large GPUs."""
BATCH = 32
"""Folds in flight: `worker.max_concurrent_summaries`."""
RATES = ("candidates/s, text", "candidates/s, pictures", "requests/s", "users in the cache", "summaries/s")
RUNTIME_BYTES = 3 * GIB
"""CUDA context, compiled graphs and activations; an allowance, not a measurement."""


def candidates_per_second(model: Model, gpu: Gpu, prompts: Prompts, utilization: float, *, pictures: bool) -> float:
    """Candidates that one GPU scores, `CANDIDATES` in a request, whose user part is computed once."""
    suffix = prompts.candidate + (prompts.picture if pictures else 0)
    tower = 4 * prompts.picture * 2 * model.vision_parameters if pictures else 0
    request = model.prefill(prompts.user, 0) + CANDIDATES * (model.prefill(suffix, prompts.user) + tower)
    return CANDIDATES * gpu.flops * utilization / request


def folds_per_second(model: Model, gpu: Gpu, prompts: Prompts, utilization: float) -> float:
    """Summaries that one GPU writes, `BATCH` at a time. A step of decoding reads all weights and the batch's cache."""
    cache = BATCH * (prompts.fold + prompts.answer / 2) * model.kv_bytes
    step = (model.parameters * BYTES + cache) / (gpu.bandwidth * 0.7)
    prefill = BATCH * model.prefill(prompts.fold, 0) / (gpu.flops * utilization)
    return BATCH / (prefill + prompts.answer * step)


def memory_bytes(model: Model, prompts: Prompts) -> float:
    """What a ranker needs: weights, the cache of the requests in work, and the runtime."""
    return model.parameters * BYTES + (IN_FLIGHT * prompts.user + BATCH_TOKENS) * model.kv_bytes + RUNTIME_BYTES


def users_cached(model: Model, gpu: Gpu, prompts: Prompts) -> float:
    """Users whose prefix stays in the rest of the memory until their next request."""
    return (0.9 * gpu.memory - memory_bytes(model, prompts)) / (prompts.user * model.kv_bytes)


def table(prompts: Prompts, utilization: float) -> Iterator[str]:
    """The lines of the Markdown table; a dash where the memory does not suffice."""
    yield _row(("model", "parameters", "ranker, GiB", "GPU", *RATES))
    yield _row(["---", *["---:"] * 2, "---", *["---:"] * len(RATES)])
    for model in MODELS:
        size = (model.name, f"{model.parameters / 1e9:.1f} B", f"{memory_bytes(model, prompts) / GIB:.0f}")
        for gpu in GPUS:
            cached = users_cached(model, gpu, prompts)
            if cached < 0:
                yield _row((*size, gpu.name, *["-"] * len(RATES)))
                continue
            text, seen = (
                candidates_per_second(model, gpu, prompts, utilization, pictures=pictures) for pictures in (False, True)
            )
            written = folds_per_second(model, gpu, prompts, utilization)
            yield _row((*size, gpu.name, *map(_rounded, (text, seen, seen / CANDIDATES, cached, written))))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rounded(rate: float) -> str:
    """Two significant digits: the assumptions bear no more."""
    return f"{float(f'{rate:.2g}'):,.10g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("user", "candidate", "picture", "fold", "answer"):
        parser.add_argument(f"--{name}-tokens", type=float, default=getattr(MEASURED, name), dest=name)
    parser.add_argument("--utilization", type=float, default=0.4, help="share of the data sheet's operations (0.4)")
    given = vars(parser.parse_args())
    utilization = given.pop("utilization")
    sys.stdout.writelines(f"{line}\n" for line in table(Prompts(**given), utilization))


if __name__ == "__main__":
    main()
