"""A server that refuses some candidates of a call, or all."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from model_store.engine.bisection import MAX_BISECTION_CALLS
from model_store.engine.errors import EngineRejected
from model_store.views import ItemView
from tests.model_store.engine.conftest import Make
from tests.model_store.engine.examples import CHAT, ITEM, LABELS, SOFT, USER, picture
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request, refusal
from tests.model_store.soft_tokens import soft_tokens

pytestmark = pytest.mark.usefixtures("quick_retries")


class TestRejectedCandidates:
    """One bad candidate costs one candidate."""

    @pytest.fixture(params=[{"mode": "score"}, {"mode": "chat"}, {"picture_tokens": SOFT}])
    def options(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {"labels": LABELS, **request.param}

    @staticmethod
    def refuse(fake: FakeVllm, bad: Callable[[str], bool]) -> None:
        """Refuse every call whose JSON is `bad`."""

        def reply(request: Request) -> Reply:
            if bad(json.dumps(request.body)):
                return 400, refusal("height:1 and width:224 must be larger than factor:32")
            return fake.default(request)

        fake.replies["/score"] = fake.replies[CHAT] = fake.replies["/classify"] = reply

    async def test_it_alone_goes_without_a_score(self, fake: FakeVllm, make: Make, options: dict[str, Any]) -> None:
        self.refuse(fake, lambda body: "item 37" in body)
        scores = await make(**options).score(USER, [ItemView(f"item {n}") for n in range(60)])
        assert [n for n, score in enumerate(scores) if score is None] == [37]

    async def test_one_whose_picture_is_refused_is_scored_by_its_words(
        self, fake: FakeVllm, make: Make, options: dict[str, Any]
    ) -> None:
        self.refuse(fake, lambda body: "image_url" in body or "prompt_embeds" in body)
        pictured = ItemView("b", image=picture(), picture_tokens=soft_tokens())
        scores = await make(**options).score(USER, [ItemView("a"), pictured, ItemView("c")])
        assert None not in scores

    async def test_when_all_are_refused_the_call_is(self, fake: FakeVllm, make: Make, options: dict[str, Any]) -> None:
        self.refuse(fake, lambda _: True)
        with pytest.raises(EngineRejected):
            await make(**options).score(USER, [ITEM, ITEM, ITEM])

    @pytest.mark.parametrize("status", [401, 404])
    async def test_a_refusal_that_is_no_candidates_fault_is_not_searched(
        self, fake: FakeVllm, make: Make, status: int
    ) -> None:
        fake.replies["/score"] = lambda _: (status, refusal("no such model"))
        with pytest.raises(EngineRejected):
            await make().score(USER, [ITEM] * 10)
        assert len(fake.requests) == 1

    async def test_what_was_scored_is_kept_when_the_search_takes_too_long(self, fake: FakeVllm, make: Make) -> None:
        async def reply(request: Request) -> Reply:
            body = json.dumps(request.body)
            if "item 37" not in body:
                return fake.default(request)
            if len(fake.requests) > 3:
                await request.disconnected.wait()
            return 400, refusal("no")

        fake.replies["/score"] = reply
        scores = await make().score(USER, [ItemView(f"item {n}") for n in range(64)], timeout_s=2.0)
        assert [n for n, score in enumerate(scores) if score is None] == list(range(32, 64))

    @pytest.mark.parametrize("status", [429, 500])
    async def test_what_was_scored_is_kept_when_the_server_fails_during_the_search(
        self, fake: FakeVllm, make: Make, status: int
    ) -> None:
        def reply(request: Request) -> Reply:
            if "item 37" not in json.dumps(request.body):
                return fake.default(request)
            return (400 if len(fake.requests) < 4 else status), refusal("no")

        fake.replies["/score"] = reply
        scores = await make().score(USER, [ItemView(f"item {n}") for n in range(64)])
        assert scores.count(None) in {16, 32}

    async def test_it_is_not_searched_for_again(self, fake: FakeVllm, make: Make) -> None:
        self.refuse(fake, lambda body: "item 37" in body or "image_url" in body)
        engine = make()
        items = [ItemView(f"item {n}", image=picture() if n == 5 else None) for n in range(60)]
        first = await engine.score(USER, items)
        asked = len(fake.requests)
        again = await engine.score(USER, items)
        assert [n for n, score in enumerate(again) if score is None] == [37]
        assert (len(fake.requests), first.index(None)) == (asked + 1, 37)
        assert await engine.score(USER, [items[37]]) == [None]

    async def test_a_server_that_refuses_everything_is_asked_the_same_again(self, fake: FakeVllm, make: Make) -> None:
        self.refuse(fake, lambda _: True)
        engine = make()
        with pytest.raises(EngineRejected):
            await engine.score(USER, [ITEM, ITEM])
        fake.replies.clear()
        assert None not in await engine.score(USER, [ITEM, ITEM])

    async def test_the_search_ends(self, fake: FakeVllm, make: Make) -> None:
        self.refuse(fake, lambda body: any(f"item {n}" in body for n in range(1, 500, 2)))
        with pytest.raises(EngineRejected):
            await make().score(USER, [ItemView(f"item {n}") for n in range(500)])
        assert len(fake.requests) == 1 + MAX_BISECTION_CALLS
