"""Scores: one of each candidate in its order, by each of the ways to ask."""

import asyncio
import base64
import json
import math
import threading
from typing import Any

import pytest

from model_store.engine.errors import BadAnswer, EngineRejected
from model_store.pictures import PictureSize, fit_picture
from model_store.views import ItemView
from tests.model_store.engine.conftest import Make
from tests.model_store.engine.examples import CHAT, ITEM, LABELS, PROMPTS, SOFT, USER, picture
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request
from tests.model_store.soft_tokens import soft_tokens

pytestmark = pytest.mark.usefixtures("quick_retries")


class TestScoring:
    async def test_all_candidates_go_in_one_call_and_come_back_in_order(self, fake: FakeVllm, make: Make) -> None:
        items = [ItemView(f"item {n}") for n in range(5)]

        def shuffled(request: Request) -> Reply:
            status, body = fake.default(request)
            return status, {"data": body["data"][::-1]}

        fake.replies["/score"] = shuffled
        engine = make()
        assert await engine.score(USER, items) == [pytest.approx((n + 1) / 6) for n in range(5)]
        assert fake.paths() == ["/score"]
        body = fake.requests[0].body
        assert body["queries"] == PROMPTS.rank_user(USER)
        assert body["documents"] == [PROMPTS.rank_item(item) for item in items]

    async def test_a_candidates_picture_stands_before_its_words(self, fake: FakeVllm, make: Make) -> None:
        engine = make()
        await engine.score(USER, [ItemView("Red Harbour", image=picture()), ITEM])
        with_picture, without = fake.requests[0].body["documents"]
        assert [part["type"] for part in with_picture["content"]] == ["image_url", "text"]
        assert without == PROMPTS.rank_item(ITEM)

    async def test_no_candidates_ask_nothing(self, fake: FakeVllm, make: Make) -> None:
        engine = make()
        assert await engine.score(USER, []) == []
        assert fake.requests == []

    @pytest.mark.parametrize(
        "data",
        [
            [{"index": 0, "score": 0.5}],
            [{"index": 0, "score": 0.5}, {"index": 0, "score": 0.6}],
            [{"index": 0, "score": 0.5}, {"index": 2, "score": 0.6}],
            [{"index": n, "score": 0.5} for n in range(3)],
            [{"index": 0, "score": 0.5}, {"index": 1, "score": 1.5}],
            [{"index": 0, "score": 0.5}, {"index": 1, "score": None}],
            [{"index": 0, "score": 0.5}, {"index": 1}],
            None,
        ],
    )
    async def test_anything_but_one_probability_each_is_malformed(self, fake: FakeVllm, make: Make, data: Any) -> None:
        fake.replies["/score"] = lambda _: (200, {"data": data})
        engine = make()
        with pytest.raises(BadAnswer) as caught:
            await engine.score(USER, [ITEM, ITEM])
        assert caught.value.reason == "malformed"

    async def test_not_a_number_is_malformed(self, fake: FakeVllm, make: Make) -> None:
        fake.replies["/score"] = lambda _: (200, b'{"data": [{"index": 0, "score": NaN}]}')
        engine = make()
        with pytest.raises(BadAnswer):
            await engine.score(USER, [ITEM])

    async def test_pictures_are_fitted_off_the_event_loop(
        self, fake: FakeVllm, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads = []

        def fitting(encoded: bytes, size: PictureSize) -> bytes:
            threads.append(threading.get_ident())
            return fit_picture(encoded, size)

        monkeypatch.setattr("model_store.pictures.fit_picture", fitting)
        item = ItemView("Red Harbour", image=picture())
        await make().score(USER, [item, item])
        await make().describe(item)
        assert len(threads) == 2, "once in each engine"
        assert threading.get_ident() not in threads


class TestScoringByChat:
    async def test_each_candidate_is_one_token_of_label_probabilities(self, fake: FakeVllm, make: Make) -> None:
        engine = make(mode="chat", labels=LABELS)
        scores = await engine.score(USER, [ITEM, ItemView("Tower", image=picture())])
        assert scores == [pytest.approx(math.exp(-0.5) / (math.exp(-0.5) + math.exp(-1.5)))] * 2
        assert fake.paths() == [CHAT, CHAT]
        body = next(request.body for request in fake.requests if len(request.body["messages"][0]["content"]) == 3)
        assert [part["type"] for part in body["messages"][0]["content"]] == ["text", "image_url", "text"]
        assert body["messages"][0]["content"][0]["text"] == PROMPTS.rank_user(USER)
        assert (body["max_tokens"], body["temperature"], body["allowed_token_ids"]) == (1, 0.0, [11, 7])

    async def test_scores_keep_the_candidates_order(self, fake: FakeVllm, make: Make) -> None:
        async def by_title(request: Request) -> Reply:
            number = int(request.body["messages"][0]["content"][-1]["text"].split("item ")[1].split("\n")[0])
            await asyncio.sleep(0.02 * (4 - number))
            entries = [{"token": "token_id:11", "logprob": float(number)}, {"token": "token_id:7", "logprob": 0.0}]
            return 200, {"choices": [{"logprobs": {"content": [{"top_logprobs": entries}]}}]}

        fake.replies[CHAT] = by_title
        engine = make(mode="chat", labels=LABELS)
        scores = await engine.score(USER, [ItemView(f"item {n}") for n in range(5)])
        assert scores == sorted(scores)
        assert len(set(scores)) == 5

    async def test_unknown_labels_are_asked_of_the_servers_tokenizer_once(self, fake: FakeVllm, make: Make) -> None:
        engine = make(mode="chat")
        await engine.score(USER, [ITEM])
        await engine.score(USER, [ITEM])
        assert fake.paths().count("/tokenize") == 2

    async def test_a_label_of_several_tokens_is_refused(self, fake: FakeVllm, make: Make) -> None:
        fake.replies["/tokenize"] = lambda _: (200, {"tokens": [1, 2]})
        engine = make(mode="chat")
        with pytest.raises(EngineRejected, match="'yes' is 2 tokens"):
            await engine.score(USER, [ITEM])

    async def test_one_failing_candidate_fails_the_call_by_its_own_error(self, fake: FakeVllm, make: Make) -> None:
        fake.replies[CHAT] = lambda _: (200, {"choices": [{"logprobs": None}]})
        engine = make(mode="chat", labels=LABELS)
        with pytest.raises(BadAnswer):
            await engine.score(USER, [ITEM] * 5)

    async def test_no_more_requests_are_in_flight_than_allowed(self, fake: FakeVllm, make: Make) -> None:
        async def slow(request: Request) -> Reply:
            await fake.crowded(3)
            await asyncio.sleep(0.01)
            return fake.default(request)

        fake.replies[CHAT] = slow
        engine = make(mode="chat", labels=LABELS, max_concurrent_calls=3)
        await engine.score(USER, [ITEM] * 12)
        assert fake.most_in_flight == 3


class TestScoringWithSoftTokens:
    async def test_each_candidate_is_one_message_with_its_soft_tokens_between_user_and_words(
        self, fake: FakeVllm, make: Make
    ) -> None:
        engine = make(labels=LABELS, picture_tokens=SOFT)
        assert engine.way == "classify"
        pictured = ItemView("Tower", image=picture(), picture_tokens=soft_tokens())
        assert await engine.score(USER, [ITEM, pictured]) == [0.6, 0.6]
        assert fake.paths() == ["/classify"] * 2
        asked = {len(request.body["messages"][0]["content"]): request.body for request in fake.requests}
        assert asked[3]["add_generation_prompt"] is True
        user, tokens, words = asked[3]["messages"][0]["content"]
        assert (user["text"], words["text"]) == (PROMPTS.rank_user(USER), PROMPTS.rank_item(pictured))
        assert tokens == {"type": "prompt_embeds", "data": base64.b64encode(soft_tokens()).decode()}
        assert [part["type"] for part in asked[2]["messages"][0]["content"]] == ["text", "text"]

    @pytest.mark.parametrize("shape", [(2, 5), (3, 4), (1, 4)])
    async def test_those_of_a_wrong_shape_are_left_out(
        self, fake: FakeVllm, make: Make, shape: tuple[int, int]
    ) -> None:
        engine = make(labels=LABELS, picture_tokens=SOFT)
        assert await engine.score(USER, [ItemView("Tower", picture_tokens=soft_tokens(*shape))]) == [0.6]
        assert "prompt_embeds" not in json.dumps(fake.requests[0].body)

    @pytest.mark.parametrize(
        "answer",
        [{}, {"data": []}, *({"data": [{"probs": probs}]} for probs in ([], [0.2, 0.8], [1.5], ["x"]))],
    )
    async def test_anything_but_one_probability_is_malformed(self, fake: FakeVllm, make: Make, answer: Any) -> None:
        fake.replies["/classify"] = lambda _: (200, answer)
        with pytest.raises(BadAnswer):
            await make(labels=LABELS, picture_tokens=SOFT).score(USER, [ITEM])

    async def test_a_generating_server_gets_them_as_well(self, fake: FakeVllm, make: Make) -> None:
        engine = make(mode="chat", labels=LABELS, picture_tokens=SOFT)
        await engine.score(USER, [ItemView("Tower", picture_tokens=soft_tokens())])
        assert [part["type"] for part in fake.requests[0].body["messages"][0]["content"]] == [
            *("text", "prompt_embeds", "text")
        ]
