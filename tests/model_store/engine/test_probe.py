"""A server with a wrong head is never used: the version's probe is scored before other scores are trusted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from model_store.engine.engine import Engine
from model_store.engine.errors import EngineUnavailable, WrongScores
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest, Probe
from model_store.views import ItemView, UserView
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request

RANKER = Manifest(name="r", version=1, role="ranker", probe=Probe(summary="likes jazz", title="The tide", score=0.8))
USER, ITEMS = UserView("likes sea"), [ItemView("Harbour"), ItemView("Ring")]
pytestmark = pytest.mark.usefixtures("quick_retries")


@asynccontextmanager
async def asking(fake: FakeVllm, manifest: Manifest = RANKER) -> AsyncIterator[Engine]:
    engine = Engine(fake.url, "fake", PromptSet.built_in("default"), manifest)
    try:
        yield engine
    finally:
        await engine.close()


class Head:
    """What a server answers: its score of the probe, 0.5 for all else, or a status."""

    def __init__(self, fake: FakeVllm, probe: float) -> None:
        self.probe, self.status, self.probed = probe, 200, 0
        fake.replies["/score"] = self

    def __call__(self, request: Request) -> Reply:
        if self.status != 200:
            return self.status, {"error": {"message": "no"}}
        documents = request.body["documents"]
        is_probe = len(documents) == 1 and "The tide" in documents[0] and "likes jazz" in request.body["queries"]
        self.probed += is_probe
        score = self.probe if is_probe else 0.5
        return 200, {"data": [{"index": index, "score": score} for index in range(len(documents))]}


async def test_scores_of_a_server_that_scores_the_probe_as_recorded_are_trusted(fake: FakeVllm) -> None:
    head = Head(fake, 0.81)
    async with asking(fake) as engine:
        answers = await asyncio.gather(*(engine.score(USER, ITEMS) for _ in range(5)))
        await engine.check()
    assert answers == [[0.5, 0.5]] * 5
    assert head.probed == 1, "once, not with every call"


@pytest.mark.parametrize("probe", [0.2, 0.5, 0.9, 0.0, 1.0])
async def test_a_wrong_head_never_serves(fake: FakeVllm, probe: float) -> None:
    Head(fake, probe)
    async with asking(fake) as engine:
        for _ in range(2):
            with pytest.raises(WrongScores, match=r"not 0\.8000"):
                await engine.score(USER, ITEMS)
        with pytest.raises(WrongScores):
            await engine.check()
        assert not await engine.healthy()
    assert not any(len(request.body["documents"]) == 2 for request in fake.requests if request.path == "/score")


async def test_after_the_server_was_away_it_is_asked_again(fake: FakeVllm) -> None:
    head = Head(fake, 0.8)
    async with asking(fake) as engine:
        await engine.score(USER, ITEMS)
        head.status, head.probe = 500, 0.2
        with pytest.raises(EngineUnavailable):
            await engine.score(USER, ITEMS)
        head.status = 200
        with pytest.raises(WrongScores):
            await engine.score(USER, ITEMS)


async def test_a_version_without_a_probe_is_trusted(fake: FakeVllm) -> None:
    head = Head(fake, 0.1)
    async with asking(fake, RANKER.model_copy(update={"probe": None})) as engine:
        assert await engine.score(USER, ITEMS) == [0.5, 0.5]
    assert head.probed == 0
