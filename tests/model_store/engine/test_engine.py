"""The guarantees of `Engine` about requests, answers and failures, with a server that fails on demand."""

import asyncio
import base64
import io
import json
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from PIL import Image

from model_store.engine.bisection import MAX_BISECTION_CALLS
from model_store.engine.engine import Engine
from model_store.engine.errors import (
    BadAnswer,
    ConnectionLost,
    EngineError,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    PromptTooLong,
)
from model_store.engine.observer import Unobserved, Usage
from model_store.pictures import PictureSize, fit_picture
from model_store.prompts import PromptSet
from model_store.registry.manifest import Labels, Manifest, PictureTokens, Serving
from model_store.views import InteractionView, ItemView, UserView
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request, refusal, text_answer
from tests.model_store.soft_tokens import soft_tokens

Make = Callable[..., Engine]
WAIT_S = 60.0
PROMPTS = PromptSet.built_in("default")
LABELS = Labels(yes_id=11, no_id=7)
SOFT = PictureTokens(count=2, width=4)
CHAT = "/v1/chat/completions"
ITEM = ItemView("Red Harbour", ("drama",))
BLOCK = (InteractionView("like", ITEM),)
USER = UserView("This user enjoys harbours.", BLOCK)

pytestmark = pytest.mark.usefixtures("quick_retries")


def picture(size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, format="JPEG")
    return out.getvalue()


@pytest.fixture
async def make(fake: FakeVllm) -> AsyncIterator[Make]:
    """Makes engines that ask `fake`, and closes them."""
    made: list[Engine] = []

    def engine(model: str = fake.model, **options: Any) -> Engine:
        names = ("labels", "picture", "picture_tokens", "serving")
        version = {name: options.pop(name) for name in names if name in options}
        manifest = Manifest(name="fake", version=1, role="ranker", **version) if version else None
        made.append(Engine(fake.url, model, PROMPTS, manifest, **options))
        return made[-1]

    yield engine
    for one in made:
        await one.close()


class TestGenerating:
    async def test_a_summary_is_asked_greedily_and_bounded(self, fake: FakeVllm, make: Make) -> None:
        engine = make(serving=Serving(max_summary_tokens=33, presence_penalty=1.5))
        assert await engine.summarize("old", BLOCK) == "A calm harbour."
        body = fake.requests[0].body
        assert body["messages"] == [{"role": "user", "content": PROMPTS.summarize("old", BLOCK)}]
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("fake", 0.0, 33)
        assert body["presence_penalty"] == 1.5

    async def test_a_retry_samples(self, fake: FakeVllm, make: Make) -> None:
        engine = make()
        await engine.summarize("old", BLOCK, attempt=1)
        assert fake.requests[0].body["temperature"] > 0

    async def test_a_picture_travels_as_png_bytes_at_the_models_size(self, fake: FakeVllm, make: Make) -> None:
        engine = make(picture=PictureSize(32, 16))
        await engine.describe(ItemView("Red Harbour", image=picture()))
        shown, words = fake.requests[0].body["messages"][0]["content"]
        head, encoded = shown["image_url"]["url"].split(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (32, 16)
        assert words["text"] == PROMPTS.describe(ItemView("Red Harbour"))

    @pytest.mark.parametrize("image", [None, b"no picture"])
    async def test_without_a_readable_picture_the_words_go_alone(
        self, fake: FakeVllm, make: Make, image: bytes | None
    ) -> None:
        engine = make()
        await engine.describe(ItemView("Red Harbour", image=image))
        assert isinstance(fake.requests[0].body["messages"][0]["content"], str)

    async def test_answers_are_cleaned(self, fake: FakeVllm, make: Make) -> None:
        fake.replies[CHAT] = lambda _: (200, text_answer("  Calm\n\nharbours <|im_end|>\u200b at night. "))
        engine = make()
        assert await engine.summarize("", BLOCK) == "Calm harbours at night."

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (text_answer("This user enjoys", "length"), "too_long"),
            (text_answer(" \n\u200b<|im_end|>"), "empty"),
            (text_answer(None), "empty"),
            ({"choices": []}, "malformed"),
            ([], "malformed"),
            (b"<html>", "malformed"),
        ],
    )
    async def test_an_unusable_answer_says_how_it_failed(
        self, fake: FakeVllm, make: Make, answer: Any, reason: str
    ) -> None:
        fake.replies[CHAT] = lambda _: (200, answer)
        engine = make()
        with pytest.raises(BadAnswer) as caught:
            await engine.summarize("", BLOCK)
        assert (caught.value.reason, caught.value.code) == (reason, f"answer_{reason}")
        assert len(fake.requests) == 1, "a bad answer is not asked for again here"


class TestAnswersInJson:
    async def test_a_general_model_is_held_to_a_schema_and_a_version_is_not(self, fake: FakeVllm, make: Make) -> None:
        fake.replies[CHAT] = lambda _: (200, text_answer('{"text": "Calm \\"harbours\\"."}'))
        written = await make().describe(ITEM)
        asked = fake.requests[-1].body
        assert written == 'Calm "harbours".'
        assert asked["response_format"]["json_schema"]["schema"]["required"] == ["text"]
        assert asked["messages"][0]["content"].startswith(PROMPTS.describe(ITEM))
        fake.replies[CHAT] = lambda _: (200, text_answer("Calm harbours."))
        await make(serving=Serving(json_answers=False)).describe(ITEM)
        version = fake.requests[-1].body
        assert "response_format" not in version
        assert asked["max_tokens"] > version["max_tokens"], "the braces cost tokens too"

    async def test_a_version_can_ask_for_it_beside_a_picture(self, fake: FakeVllm, make: Make) -> None:
        fake.replies[CHAT] = lambda _: (200, text_answer('{"text":"A boat."}'))
        assert await make(serving=Serving(json_answers=True)).describe(ItemView("x", image=picture())) == "A boat."
        shown, words = fake.requests[0].body["messages"][0]["content"]
        assert shown["type"] == "image_url"
        assert "JSON" in words["text"]

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (text_answer('{"text": "This user', "length"), "too_long"),
            (text_answer('{"text": "This user'), "malformed"),
            (text_answer('{"note": "This user"}'), "malformed"),
            (text_answer('{"text": " \\ud800 "}'), "empty"),
            (text_answer('{"text": "{{ x }}"}'), "implausible"),
        ],
    )
    async def test_an_object_that_can_not_be_used_says_why(
        self, fake: FakeVllm, make: Make, answer: Any, reason: str
    ) -> None:
        fake.replies[CHAT] = lambda _: (200, answer)
        with pytest.raises(BadAnswer) as caught:
            await make().summarize("", BLOCK)
        assert caught.value.reason == reason

    async def test_a_server_that_does_not_constrain_answers_is_read_as_well(self, fake: FakeVllm, make: Make) -> None:
        assert await make().summarize("", BLOCK) == "A calm harbour."


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


class Recorder(Unobserved):
    def __init__(self) -> None:
        self.usages: list[Usage] = []
        self.masses: list[float] = []

    def usage(self, usage: Usage) -> None:
        self.usages.append(usage)

    def label_mass(self, mass: float) -> None:
        self.masses.append(mass)


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "error", "attempts"),
        [
            (400, EngineRejected, 1),
            (401, EngineRejected, 1),
            (404, EngineRejected, 1),
            (429, EngineOverloaded, 3),
            (500, EngineUnavailable, 1),
            (503, EngineOverloaded, 3),
        ],
    )
    async def test_a_status_is_one_error_and_only_shed_load_is_tried_again(
        self, fake: FakeVllm, make: Make, status: int, error: type[EngineError], attempts: int
    ) -> None:
        fake.replies[CHAT] = lambda _: (status, refusal("the reason"))
        engine = make()
        with pytest.raises(error, match="the reason") as caught:
            await engine.summarize("", BLOCK)
        assert type(caught.value) is error
        assert len(fake.requests) == attempts

    async def test_a_server_that_sheds_load_once_is_asked_again(self, fake: FakeVllm, make: Make) -> None:
        replies = iter([(503, refusal("busy")), (200, text_answer("fine"))])
        fake.replies[CHAT] = lambda _: next(replies)
        engine = make()
        assert await engine.summarize("", BLOCK) == "fine"

    async def test_an_unreachable_server_is_a_lost_connection(self) -> None:
        engine = Engine("http://127.0.0.1:9", "fake", PROMPTS)
        with pytest.raises(ConnectionLost) as caught:
            await engine.summarize("", BLOCK)
        assert caught.value.code == "engine_unavailable"
        assert not await engine.healthy()
        await engine.close()

    async def test_a_late_server_times_out_and_is_disconnected(self, fake: FakeVllm, make: Make) -> None:
        async def never(request: Request) -> Reply:
            await request.disconnected.wait()
            return 200, text_answer("too late")

        fake.replies["/score"] = never
        engine = make()
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(EngineTimeout):
                await engine.score(USER, [ITEM], timeout_s=2)
            await fake.requests[0].disconnected.wait()

    async def test_waiting_for_a_free_slot_counts_against_the_deadline(self, fake: FakeVllm, make: Make) -> None:
        async def never(request: Request) -> Reply:
            await request.disconnected.wait()
            return 200, text_answer("too late")

        fake.replies["/score"] = never
        engine = make(max_concurrent_calls=1)
        first = asyncio.create_task(engine.score(USER, [ITEM], timeout_s=60))
        await fake.asked.wait()
        with pytest.raises(EngineTimeout):
            await engine.score(USER, [ITEM], timeout_s=0.1)
        assert len(fake.requests) == 1
        first.cancel()

    async def test_cancelling_the_caller_disconnects(self, fake: FakeVllm, make: Make) -> None:
        async def never(request: Request) -> Reply:
            await request.disconnected.wait()
            return 200, text_answer("too late")

        fake.replies[CHAT] = fake.replies["/score"] = never
        for engine in (make(), make(mode="chat", labels=LABELS)):
            fake.requests.clear()
            fake.asked.clear()
            asking = asyncio.create_task(engine.score(USER, [ITEM]))
            async with asyncio.timeout(WAIT_S):
                await fake.asked.wait()
                asking.cancel()
                with suppress(asyncio.CancelledError):
                    await asking
                await fake.requests[0].disconnected.wait()

    async def test_the_key_is_sent(self, fake: FakeVllm, make: Make) -> None:
        engine = make(api_key="secret")
        await engine.summarize("", BLOCK)
        assert fake.requests[0].headers["authorization"] == "Bearer secret"


class TestHealth:
    async def test_a_working_server_with_the_model_is_healthy(self, fake: FakeVllm, make: Make) -> None:
        engine = make()
        assert await engine.healthy()

    async def test_a_server_of_another_model_is_not(self, fake: FakeVllm, make: Make) -> None:
        engine = make(model="other")
        assert not await engine.healthy()
        with pytest.raises(EngineRejected, match="serves fake, not other"):
            await engine.check()

    async def test_a_server_with_a_dead_engine_is_not(self, fake: FakeVllm, make: Make) -> None:
        fake.replies["/health"] = lambda _: (503, b"")
        engine = make()
        assert not await engine.healthy()


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
