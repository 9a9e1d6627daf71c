"""Prompts that are too long for the model."""

import pytest

from model_store.engine.errors import PromptTooLong
from model_store.registry.manifest import Serving
from model_store.views import InteractionView, ItemView, UserView
from tests.model_store.engine.conftest import Make
from tests.model_store.engine.examples import BLOCK, CHAT, ITEM
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request, refusal

pytestmark = pytest.mark.usefixtures("quick_retries")


class TestFitting:
    LONG = UserView("s" * 300, tuple(InteractionView("like", ItemView(f"title {n} " + "x" * 150)) for n in range(20)))

    async def test_a_long_prompt_loses_its_oldest_recents_first(self, fake: FakeVllm, make: Make) -> None:
        engine = make(serving=Serving(max_model_len=1000))
        await engine.score(self.LONG, [ITEM])
        query = fake.requests[0].body["queries"]
        assert "title 19 " in query
        assert "title 0 " not in query
        assert "s" * 300 in query

    async def test_a_refused_prompt_is_asked_again_shorter(self, fake: FakeVllm, make: Make) -> None:
        def strict(request: Request) -> Reply:
            if len(request.body["queries"]) > 1200:
                return 400, refusal("This model's maximum context length is 600 tokens. However ...")
            return fake.default(request)

        fake.replies["/score"] = strict
        engine = make(serving=Serving(max_model_len=1000))
        assert await engine.score(self.LONG, [ITEM]) == [0.5]
        lengths = [len(request.body["queries"]) for request in fake.requests]
        assert lengths == sorted(lengths, reverse=True)
        assert len(lengths) > 1

    async def test_a_prompt_that_never_fits_says_so(self, fake: FakeVllm, make: Make) -> None:
        fake.replies[CHAT] = lambda _: (400, refusal("maximum context length is 5 tokens"))
        engine = make()
        with pytest.raises(PromptTooLong):
            await engine.summarize("", BLOCK)

    async def test_a_block_keeps_all_its_events(self, fake: FakeVllm, make: Make) -> None:
        engine = make(serving=Serving(max_model_len=1200))
        item = ItemView("Harbour", ("drama",), ("t" * 40,) * 12, "d" * 400, "p" * 300)
        await engine.summarize("s" * 1200, [InteractionView(kind, item) for kind in ("view", "like", "skip")])
        content = fake.requests[0].body["messages"][0]["content"]
        assert [f"\n{kind}: Harbour" in content for kind in ("view", "like", "skip")] == [True] * 3
