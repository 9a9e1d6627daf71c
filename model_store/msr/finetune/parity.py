"""Holds adapter, merged checkpoint and vLLM against each other on fixed pairs."""

import asyncio
import importlib.util
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from model_store.blend import logit
from model_store.engine.engine import Engine
from model_store.msr.finetune import FinetuneError
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest
from model_store.serving.launch import VllmServer
from model_store.views import ItemView, UserView

PAIRS = 20
_START_S, _SCORE_S = 1200.0, 600.0


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far log-odds may be apart: any pair, and the mean."""

    each: float
    mean: float


FLOAT32 = Tolerance(each=0.01, mean=0.003)
HALF = Tolerance(each=0.5, mean=0.15)
"""bfloat16 has 8 bits: products in another order change the log-odds of a large model by tenths."""


def fixed(count: int) -> list[int]:
    """The places of `PAIRS` pairs, spread over all `count` of them."""
    return [place * count // PAIRS for place in range(PAIRS)] if count > PAIRS else list(range(count))


def require_equal(what: str, left: Sequence[float], right: Sequence[float], allowed: Tolerance) -> float:
    """The largest difference of two lists of log-odds.

    Raises:
        FinetuneError: they differ by more than is allowed; the version must not be registered.
    """
    differences = [abs(one - other) for one, other in zip(left, right, strict=True)]
    largest, mean = max(differences), fmean(differences)
    if not (largest <= allowed.each and mean <= allowed.mean):
        raise FinetuneError(
            f"{what} differ by {largest:.4f} in log-odds at most and {mean:.4f} in the mean ({allowed.each} and "
            f"{allowed.mean} are allowed): it would not serve what was trained, and nothing is registered"
        )
    return largest


def vllm_is_installed() -> bool:
    return importlib.util.find_spec("vllm") is not None


def vllm_log_odds(
    manifest: Manifest, weights: Path, prompts: PromptSet, views: Sequence[tuple[UserView, ItemView]]
) -> list[float]:
    """Start a vLLM server for the version, and return what the service would read for these pairs.

    Raises:
        ChildFailed: the server does not start.
        EngineError: it does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="tastestream-vllm-") as folder:
        return asyncio.run(_served(manifest, weights, prompts, views, Path(folder) / "vllm.log"))


async def _served(
    manifest: Manifest, weights: Path, prompts: PromptSet, views: Sequence[tuple[UserView, ItemView]], log: Path
) -> list[float]:
    server = VllmServer(manifest, weights, prompts.folder, log)
    try:
        await server.start()
        await server.wait_healthy(timeout_s=_START_S)
        engine = Engine(server.url, manifest.id, prompts, manifest, timeout_s=_SCORE_S, connect_timeout_s=60.0)
        try:
            scores = [(await engine.score(user, [item]))[0] for user, item in views]
        finally:
            await engine.close()
    finally:
        await server.stop()
    return [float("nan") if score is None else logit(score) for score in scores]
