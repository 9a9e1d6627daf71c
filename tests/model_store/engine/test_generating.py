"""Descriptions and summaries: how they are asked for, and which answers are used."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from model_store.engine.errors import BadAnswer
from model_store.pictures import PictureSize
from model_store.registry.manifest import Serving
from model_store.views import ItemView
from tests.model_store.engine.conftest import Make
from tests.model_store.engine.examples import BLOCK, CHAT, ITEM, PROMPTS, picture
from tests.model_store.engine.fake_vllm import FakeVllm, text_answer

pytestmark = pytest.mark.usefixtures("quick_retries")


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
