"""Whole datasets are described and summarized by the prompts of the workers; what fails, fails alone."""

import contextlib
import io
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from model_store.data.dataset import Dataset
from model_store.data.summaries import Step
from model_store.evaluate.answers import AnswerCache
from model_store.evaluate.asking import ATTEMPTS, CACHED_FAILURE, Summarizer
from model_store.evaluate.condition import Folding
from model_store.evaluate.server import ModelServer
from model_store.offline.stages import SummaryOptions, describe, summarize
from model_store.progress import quiet
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request, running, text_answer
from tests.model_store.evaluate.asked import asked, make_store, prompt, subject
from tests.model_store.evaluate.worlds import catalogue, like

CHAT = "/v1/chat/completions"
STORES = itertools.count()


@pytest.fixture
async def fake() -> AsyncIterator[FakeVllm]:
    async with running() as server:
        yield server


@contextlib.asynccontextmanager
async def summarizer(fake: FakeVllm, folder: Path) -> AsyncIterator[Summarizer]:
    """With a cache in `folder`, as each run of a command has one."""
    found = subject(make_store(folder / f"store{next(STORES)}"), fake)
    with AnswerCache(folder / "answers") as cache:
        async with ModelServer(found.summarizer, found.registry, fake.url, folder / "log", quiet) as server:
            yield Summarizer(server, cache, quiet)


def pictured(folder: Path) -> Dataset:
    """Items 0 and 1 have a picture, that of 2 is unreadable and that of 3 missing, 4 has none."""
    items = catalogue(5)
    for number in range(4):
        items[f"i{number}"] = replace(items[f"i{number}"], image=folder / f"{number}.png", summary="an old one")
    for number in range(2):
        out = io.BytesIO()
        Image.new("RGB", (40, 40), "red").save(out, "PNG")
        (folder / f"{number}.png").write_bytes(out.getvalue())
    (folder / "2.png").write_text("<html>")
    return Dataset(items, {})


async def test_items_with_a_readable_picture_are_described_once(fake: FakeVllm, tmp_path: Path) -> None:
    dataset = pictured(tmp_path)
    async with summarizer(fake, tmp_path) as first:
        fake.replies[CHAT] = lambda _: (200, text_answer("A red square."))
        written = await describe(first, dataset, quiet)
    assert written.texts == {"i0": "A red square.", "i1": "A red square."}
    assert written.failures == {"picture unreadable": 1, "picture missing": 1}
    assert len(asked(fake, CHAT)) == written.asked == 2
    async with summarizer(fake, tmp_path) as second:
        again = await describe(second, dataset, quiet)
    assert again.texts == written.texts
    assert len(asked(fake, CHAT)) == 2, "the second run asks nothing"


async def test_an_item_without_an_answer_fails_alone_and_says_why(fake: FakeVllm, tmp_path: Path) -> None:
    def sometimes(request: Request) -> Reply:
        text = "" if "Item 1" in prompt(request.body) else "A red square."
        return 200, text_answer(text)

    async with summarizer(fake, tmp_path) as first:
        fake.replies[CHAT] = sometimes
        written = await describe(first, pictured(tmp_path), quiet)
    assert set(written.texts) == {"i0"}
    assert written.failures["answer_empty"] == 1
    assert len(asked(fake, CHAT)) == 1 + ATTEMPTS
    async with summarizer(fake, tmp_path) as second:
        again = await describe(second, pictured(tmp_path), quiet)
    assert again.failures[CACHED_FAILURE] == 1


HISTORIES = Dataset(
    catalogue(20),
    {"u": tuple(like(f"i{n}", n) for n in range(8)), "v": (like("i9", 1),), "w": (like("i1", 1), like("gone", 2))},
)


async def test_every_step_of_every_user_is_written(fake: FakeVllm, tmp_path: Path) -> None:
    async with summarizer(fake, tmp_path) as first:
        written = await summarize(first, HISTORIES, SummaryOptions(Folding(3)), quiet)
    assert written.steps == {
        "u": [Step(4, "seen 4"), Step(8, "seen 8")],
        "v": [Step(1, "seen 1")],
        "w": [Step(2, "seen 1")],
    }


async def test_the_last_events_keep_their_place_in_the_history(fake: FakeVllm, tmp_path: Path) -> None:
    async with summarizer(fake, tmp_path) as first:
        written = await summarize(first, HISTORIES, SummaryOptions(Folding(1), last=2, users=["u"]), quiet)
    assert written.steps == {"u": [Step(7, "seen 1"), Step(8, "seen 2")]}


async def test_a_direct_summary_has_not_seen_the_target_of_the_evaluation(fake: FakeVllm, tmp_path: Path) -> None:
    async with summarizer(fake, tmp_path) as first:
        written = await summarize(first, HISTORIES, SummaryOptions(Folding(None)), quiet)
    assert written.steps["u"] == [Step(7, "seen 7")]
    shown = [prompt(body) for body in asked(fake, CHAT)]
    assert not any("Item 7" in text for text in shown)


async def test_a_step_without_an_answer_leaves_the_summary_and_the_chain_goes_on(
    fake: FakeVllm, tmp_path: Path
) -> None:
    async with summarizer(fake, tmp_path) as first:
        note = fake.replies[CHAT]

        def sometimes(request: Request) -> Reply:
            return (200, text_answer("")) if "Item 2" in prompt(request.body) else note(request)  # type: ignore[return-value]

        fake.replies[CHAT] = sometimes
        written = await summarize(first, HISTORIES, SummaryOptions(Folding(2), users=["u", "v"]), quiet)
    assert written.steps["u"] == [Step(2, "seen 2"), Step(4, "seen 2"), Step(6, "seen 4"), Step(8, "seen 6")]
    assert written.failures == {"answer_empty": 1}
