"""What an engine reports of tokens and of the labels' mass."""

import math
from typing import Any

import pytest

from model_store.engine.observer import Usage
from tests.model_store.engine.conftest import Make
from tests.model_store.engine.examples import BLOCK, CHAT, ITEM, LABELS, USER, Recorder
from tests.model_store.engine.fake_vllm import FakeVllm, text_answer

pytestmark = pytest.mark.usefixtures("quick_retries")


class TestObserving:
    """What answers say about the asking reaches whoever counts it."""

    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            ({"prompt_tokens": 40, "completion_tokens": 7, "total_tokens": 47}, [Usage(40, 7, 0)]),
            ({"prompt_tokens": 40, "completion_tokens": None, "total_tokens": 40}, [Usage(40, 0, 0)]),
            (
                {"prompt_tokens": 40, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 32}},
                [Usage(40, 7, 32)],
            ),
            ({"prompt_tokens": 40, "completion_tokens": 7, "prompt_tokens_details": None}, [Usage(40, 7, 0)]),
            ({"prompt_tokens": -1}, [Usage(0, 0, 0)]),
            (None, []),
            ("many", []),
            ({"prompt_tokens": "many"}, []),
        ],
    )
    async def test_tokens_are_those_of_the_answer_and_nothing_breaks_without(
        self, fake: FakeVllm, make: Make, usage: Any, expected: list[Usage]
    ) -> None:
        fake.replies[CHAT] = lambda _: (200, {**text_answer("Calm."), "usage": usage})
        engine, observer = make(), Recorder()
        engine.observe(observer)
        assert await engine.summarize("", BLOCK) == "Calm."
        assert observer.usages == expected

    async def test_the_mass_of_the_labels_is_that_of_both_tokens(self, fake: FakeVllm, make: Make) -> None:
        engine, observer = make(mode="chat", labels=LABELS), Recorder()
        engine.observe(observer)
        await engine.score(USER, [ITEM])
        assert observer.masses == [pytest.approx(math.exp(-0.5) + math.exp(-1.5))]

    async def test_a_pooling_server_tells_no_mass(self, fake: FakeVllm, make: Make) -> None:
        engine, observer = make(), Recorder()
        engine.observe(observer)
        await engine.score(USER, [ITEM])
        assert observer.masses == []
