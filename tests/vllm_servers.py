"""The vLLM servers that all tests share: one generates, one scores, one classifies with soft tokens.

They serve the demo's models, or random tiny ones where the repository has none, in float32, so
that their numbers can be compared with those of transformers.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model_store.demo import MODELS
from model_store.engine.engine import Engine, Mode
from model_store.prompts import PromptSet
from model_store.registry.manifest import Labels, Manifest, Role
from model_store.registry.registry import Registry
from model_store.serving.launch import VllmServer
from model_store.views import InteractionView, ItemView, UserView

START_S = 800.0
_TEXTS = ("This user enjoys calm harbours and old towers.", "A red boat under a dark sky", "drama, comedy, mystery")


@dataclass(frozen=True)
class ServedModel:
    """A model version on a running server."""

    manifest: Manifest
    weights: Path
    prompts: PromptSet
    url: str

    def engine(self, *, mode: Mode = "score", **changes: Any) -> Engine:
        """A new client for it, with changes to its manifest; the caller closes it."""
        manifest = self.manifest.model_copy(update=changes)
        return Engine(self.url, manifest.id, self.prompts, manifest, mode=mode, timeout_s=300.0, connect_timeout_s=60.0)


def _model(role: Role, folder: Path) -> tuple[Manifest, Path, PromptSet]:
    if (MODELS / f"demo-{role}").exists():
        registry = Registry(MODELS)
        manifest = registry.get(f"demo-{role}")
        return manifest, registry.local_folder(manifest), registry.prompts(manifest)
    return _random_model(role, folder)


def _random_model(role: Role, folder: Path) -> tuple[Manifest, Path, PromptSet]:
    import torch

    from tests.tiny_model import tiny_qwen3_vl

    prompts = PromptSet.built_in("compact")
    item = ItemView("Red Harbour", ("drama", "mystery"), ("sea",), summary="a red boat")
    block = (InteractionView("like", item), InteractionView("view", item), InteractionView("dislike", item))
    texts = [*_TEXTS, prompts.rank_user(UserView("", block)), prompts.summarize("", block), prompts.rank_item(item)]
    model = tiny_qwen3_vl(folder, texts * 20)
    with torch.no_grad():
        # Fresh weights are so small that every prompt would get the same score.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    yes_id, no_id = tokenizer.convert_tokens_to_ids(["yes", "no"])
    manifest = Manifest(
        name=f"tiny-{role}",
        version=1,
        role=role,
        labels=Labels(yes_id=yes_id, no_id=no_id),
        serving={"architecture": "Qwen3VLForSequenceClassification" if role == "ranker" else None},
    )
    return manifest, folder, prompts


def _text_model(folder: Path) -> tuple[Manifest, Path, PromptSet]:
    """A text LLM that is shown pictures as soft tokens."""
    from tests.tiny_model import SOFT, tiny_llama

    prompts = PromptSet.built_in("default")
    item = ItemView("Red Harbour", ("drama", "mystery"), ("sea",), summary="a red boat")
    block = (InteractionView("like", item), InteractionView("view", item), InteractionView("dislike", item))
    texts = [*_TEXTS, prompts.rank_user(UserView("", block)), prompts.rank_item(item)]
    tiny_llama(folder, texts * 20)
    from transformers import AutoTokenizer

    yes_id, no_id = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(["yes", "no"])
    manifest = Manifest(
        name="tiny-text",
        version=1,
        role="ranker",
        labels=Labels(yes_id=yes_id, no_id=no_id),
        picture_tokens=SOFT,
        serving={"architecture": "LlamaForSequenceClassification"},
    )
    return manifest, folder, prompts


@contextmanager
def running(server: VllmServer) -> Iterator[None]:
    """Start a server, wait until it answers, and stop it at the end."""
    # A loop of its own that is never made the current one: the tests' loops come and go meanwhile.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(server.start())
        try:
            runner.run(server.wait_healthy(timeout_s=START_S))
            yield
        finally:
            runner.run(server.stop())


def _served(model: tuple[Manifest, Path, PromptSet], folder: Path) -> Iterator[ServedModel]:
    manifest, weights, prompts = model
    serving = manifest.serving.model_copy(update={"dtype": "float32"})
    manifest = manifest.model_copy(update={"serving": serving})
    server = VllmServer(manifest, weights, prompts.folder, folder / "vllm.log")
    with running(server):
        yield ServedModel(manifest, weights, prompts, server.url)


@pytest.fixture(scope="session")
def summarizer_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    """The generating server."""
    folder = tmp_path_factory.mktemp("summarizer")
    yield from _served(_model("summarizer", folder / "weights"), folder)


@pytest.fixture(scope="session")
def ranker_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    """The pooling server."""
    folder = tmp_path_factory.mktemp("ranker")
    yield from _served(_model("ranker", folder / "weights"), folder)


@pytest.fixture(scope="session")
def text_ranker_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    """The pooling server of a text LLM with soft tokens."""
    folder = tmp_path_factory.mktemp("text-ranker")
    yield from _served(_text_model(folder / "weights"), folder)
