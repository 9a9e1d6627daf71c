"""What an embedder asks, and what it makes of the answers; the server is one that says what a test wants."""

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model_store.embedder_head import Head
from model_store.engine.embed import Embedder
from model_store.engine.errors import BadAnswer, EngineRejected
from model_store.prompts.embed import EmbedPrompts
from model_store.registry.manifest import Embedding, Manifest, ManifestError, PictureTokens
from model_store.soft_tokens import join_feature
from model_store.views import ItemView
from tests.model_store.engine.fake_vllm import FakeVllm, refusal
from tests.model_store.soft_tokens import saved, soft_tokens

READ = "<|read|>"
HEAD = Head(np.eye(2, 4, dtype=np.float32), np.zeros((4, 8), dtype=np.float32))
MANIFEST = Manifest(
    name="shop-embedder",
    version=2,
    role="embedder",
    embedding=Embedding(dimensions=2, read_token=READ, read_token_id=9),
    picture_tokens=PictureTokens(count=2, width=4, feature=True),
)
TOKENS, FEATURE = soft_tokens(2, 4), torch.tensor([[3.0, 0.0, 1.0, 1.0]])
ITEM = ItemView("Red <|read|> Harbour", ("drama",), picture_tokens=join_feature(TOKENS, saved(FEATURE)))


def states(*rows: list[float]) -> dict[str, Any]:
    return {"data": [{"index": 0, "data": list(rows)}]}


def embedder(fake: FakeVllm, **changes: Any) -> Embedder:
    manifest = MANIFEST.model_copy(update=changes)
    fake.model = manifest.id
    return Embedder(fake.url, manifest, EmbedPrompts.built_in("embed", READ), HEAD)


async def test_picture_and_words_are_asked_in_one_message_and_the_last_position_counts(fake: FakeVllm) -> None:
    fake.replies["/pooling"] = lambda _: (200, states([9.0, 9.0, 0.0, 0.0], [1.0, 8.0, 0.0, 0.0]))
    engine = embedder(fake)
    await engine.check()
    vector = await engine.embed(ITEM)
    await engine.close()

    # The gate of zeros takes half of the state and half of the feature: ([1, 8] + [3, 0]) / 2.
    np.testing.assert_allclose(vector, np.array([2.0, 4.0]) / np.hypot(2.0, 4.0), atol=1e-6)
    assert fake.requests[-1].body == {
        "model": "shop-embedder@2",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "prompt_embeds", "data": base64.b64encode(TOKENS).decode()},
                    {
                        "type": "text",
                        "text": f"The picture in one word:{READ}\nRed Harbour | drama\nThe item in one word:{READ}",
                    },
                ],
            }
        ],
        "task": "token_embed",
    }


@pytest.mark.parametrize("tokens", [None, b"", TOKENS, join_feature(TOKENS, saved(torch.zeros(1, 5)))])
async def test_an_item_without_a_readable_picture_is_embedded_from_its_words(
    fake: FakeVllm, tokens: bytes | None
) -> None:
    fake.replies["/pooling"] = lambda _: (200, states([3.0, 4.0, 0.0, 0.0]))
    engine = embedder(fake)
    vector = await engine.embed(ItemView("Red Harbour", picture_tokens=tokens))
    await engine.close()
    np.testing.assert_allclose(vector, [0.6, 0.8], atol=1e-6)
    content = fake.requests[-1].body["messages"][0]["content"]
    assert content == [{"type": "text", "text": f"Red Harbour\nThe item in one word:{READ}"}]


async def test_a_prompt_that_is_too_long_loses_its_description(fake: FakeVllm) -> None:
    def reply(request: Any) -> tuple[int, Any]:
        if "calm" in request.body["messages"][0]["content"][0]["text"]:
            return 400, refusal("This model's maximum context length is 80 tokens")
        return 200, states([1.0, 0.0, 0.0, 0.0])

    fake.replies["/pooling"] = reply
    engine = embedder(fake, serving=MANIFEST.serving.model_copy(update={"max_model_len": 160}))
    await engine.embed(ItemView("Red Harbour", description="calm " * 30))
    await engine.close()
    assert fake.paths() == ["/pooling"] * 2


@pytest.mark.parametrize(
    "answer", [{}, {"data": []}, states(), states([1.0]), states([0.0] * 4), {"data": [{"data": "x"}]}, []]
)
async def test_an_answer_without_a_usable_state_is_an_error(fake: FakeVllm, answer: Any) -> None:
    fake.replies["/pooling"] = lambda _: (200, answer)
    engine = embedder(fake)
    with pytest.raises(BadAnswer) as raised:
        await engine.embed(ItemView("Red Harbour"))
    await engine.close()
    assert raised.value.code == "answer_malformed"


async def test_a_server_of_another_version_is_refused(fake: FakeVllm) -> None:
    engine = embedder(fake)
    fake.model = "shop-embedder@1"
    with pytest.raises(EngineRejected, match="serves shop-embedder@1, not shop-embedder@2"):
        await engine.check()
    await engine.close()


def test_a_version_that_is_no_embedder_or_has_no_head_is_refused() -> None:
    prompts = EmbedPrompts.built_in("embed", READ)
    with pytest.raises(ManifestError, match="is no embedder"):
        Embedder("http://127.0.0.1:1", MANIFEST.model_copy(update={"embedding": None}), prompts, HEAD)
    with pytest.raises(ManifestError, match="lacks its prompts or its head"):
        Embedder("http://127.0.0.1:1", MANIFEST)


class TestGeneralModel:
    """Qwen3-VL-Embedding, whose weights can't be had here: the request is a golden one."""

    MANIFEST = Manifest(
        name="qwen3-vl-embedding",
        version=1,
        role="embedder",
        picture={"width": 64, "height": 64},
        embedding=Embedding(kind="direct", dimensions=2, instruction="Represent the user's input."),
    )

    async def test_it_is_asked_as_it_was_trained_and_its_vector_is_cut(self, fake: FakeVllm) -> None:
        fake.replies["/v1/embeddings"] = lambda _: (200, {"data": [{"embedding": [0.3, 0.4, 0.5]}]})
        out = io.BytesIO()
        Image.new("RGB", (64, 64), "red").save(out, format="PNG")
        engine = Embedder(fake.url, self.MANIFEST)
        vector = await engine.embed(ItemView("Red Harbour", ("drama",), ("sea",), "A calm port.", image=out.getvalue()))
        await engine.close()
        np.testing.assert_allclose(vector, [0.6, 0.8], atol=1e-6)
        (request,) = fake.requests
        picture = request.body["messages"][1]["content"].pop(0)
        assert picture["image_url"]["url"].startswith("data:image/png;base64,")
        assert (request.path, request.body) == (
            "/v1/embeddings",
            {
                "model": "qwen3-vl-embedding@1",
                "messages": [
                    {"role": "system", "content": [{"type": "text", "text": "Represent the user's input."}]},
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "Red Harbour\ndrama, sea\nA calm port."}],
                    },
                    {"role": "assistant", "content": [{"type": "text", "text": ""}]},
                ],
                "continue_final_message": True,
                "add_special_tokens": True,
                "encoding_format": "float",
            },
        )

    @pytest.mark.parametrize("embedding", [[0.5], [0.0, 0.0], [], "x", None])
    async def test_a_vector_that_is_too_short_or_has_no_direction_is_an_error(
        self, fake: FakeVllm, embedding: Any
    ) -> None:
        fake.replies["/v1/embeddings"] = lambda _: (200, {"data": [{"embedding": embedding}]})
        engine = Embedder(fake.url, self.MANIFEST)
        with pytest.raises(BadAnswer):
            await engine.embed(ItemView("Red Harbour"))
        await engine.close()
