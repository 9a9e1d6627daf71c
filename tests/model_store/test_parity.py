"""vLLM computes what was trained: the same tokens, and the same scores as transformers."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
from PIL import Image

from model_store.demo import SEED
from model_store.demo.world import make_items
from model_store.engine.engine import Engine, Mode
from model_store.engine.errors import EngineError
from model_store.pictures import fit_picture
from model_store.registry.manifest import Labels
from model_store.serving.torchvision_ops import declare
from model_store.views import InteractionView, ItemView, UserView
from tests.model_store.engine.fake_vllm import running
from tests.vllm_servers import ServedModel

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]


def picture(red: int, green: int, blue: int) -> bytes:
    image = Image.linear_gradient("L").resize((90, 120)).convert("RGB")
    image.paste((red, green, blue), (20, 30, 70, 90))
    out = io.BytesIO()
    image.save(out, format="JPEG")
    return out.getvalue()


HARBOUR = ItemView("Red Harbour", ("drama", "mystery"), ("sea",), summary="a red boat", image=picture(200, 30, 30))
TOWER = ItemView("Green Tower", ("history",), (), summary="a tower", image=picture(30, 180, 40))
LAMP = ItemView("Blue Lamp", ("comedy", "drama"), ("light",), image=picture(20, 40, 200))
PLAIN = ItemView("Quiet Orchard", ("romance",))
HALF_BLIND = ItemView("Red Harbour", ("drama", "mystery"), ("sea",), summary="a red boat")
FOREIGN = (HARBOUR, TOWER, LAMP)
WORLD = tuple(ItemView(item.title, (item.attributes["genre"],), summary=item.caption) for item in make_items(3, SEED))
ITEMS = [HARBOUR, TOWER, LAMP, PLAIN, HALF_BLIND]
BLOCK = (InteractionView("view", PLAIN), InteractionView("like", HARBOUR), InteractionView("dislike", None))
USERS = [UserView(), UserView("This user enjoys calm harbours.", BLOCK)]


class Reference:
    """The checkpoint in transformers, asked with the tokens of training."""

    def __init__(self, served: ServedModel) -> None:
        declare()
        import torch
        from transformers import AutoProcessor, AutoTokenizer, Qwen3VLForConditionalGeneration

        from model_store.msr.scratch.architecture import Sizes
        from model_store.msr.scratch.encoding import Encoder

        self.torch = torch
        self.picture = served.manifest.picture
        tokenizer = AutoTokenizer.from_pretrained(served.weights)
        self.encoder = Encoder(tokenizer, served.prompts, Sizes(picture=served.manifest.picture))
        self.images = AutoProcessor.from_pretrained(served.weights).image_processor
        self.model = Qwen3VLForConditionalGeneration.from_pretrained(served.weights, dtype=torch.float32).eval()

    @property
    def labels(self) -> Labels:
        return Labels(yes_id=self.encoder.yes_id, no_id=self.encoder.no_id)

    def score(self, user: UserView, item: ItemView) -> float:
        return self.probability(self.prompt(user, item), item)

    def prompt(self, user: UserView, item: ItemView) -> list[int]:
        from tests.tiny_model import ranking_prompt

        return ranking_prompt(self.encoder, user, item)

    def probability(self, prompt: list[int], item: ItemView) -> float:
        """Softmax over the two label logits at the first answer position."""
        ids = self.torch.tensor([prompt])
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": self.torch.ones_like(ids)}
        if item.image is not None:
            with Image.open(io.BytesIO(fit_picture(item.image, self.picture))) as fitted:
                inputs |= self.images(images=[fitted], return_tensors="pt")
            inputs["mm_token_type_ids"] = (ids == self.encoder.image_id).int()
        with self.torch.no_grad():
            logits = self.model(**inputs).logits[0, -1]
        labels = logits[[self.encoder.yes_id, self.encoder.no_id]]
        return float(labels.softmax(0)[0])


@pytest.fixture(scope="module")
def reference(ranker_server: ServedModel) -> Reference:
    return Reference(ranker_server)


@pytest.fixture
async def ranker(ranker_server: ServedModel) -> AsyncIterator[Engine]:
    engine = ranker_server.engine()
    yield engine
    await engine.close()


async def test_score_equals_the_softmax_of_transformers(ranker: Engine, reference: Reference) -> None:
    every = []
    for user in USERS:
        expected = [reference.score(user, item) for item in ITEMS]
        assert await ranker.score(user, ITEMS) == pytest.approx(expected, abs=1e-5)
        every += expected
    assert max(every) - min(every) > 0.01, "the scores are too alike to compare anything"


async def test_score_is_the_same_with_and_without_a_cached_prefix(ranker: Engine) -> None:
    first = await ranker.score(USERS[1], ITEMS)
    again = await ranker.score(USERS[1], list(reversed(ITEMS)))
    assert first == pytest.approx(again[::-1], abs=1e-6)


async def recorded(
    served: ServedModel, ask: Callable[[Engine], Awaitable[Any]], *, mode: Mode = "score", **changes: Any
) -> dict[str, Any]:
    """The body of the request that an engine sends when it is asked."""
    manifest = served.manifest.model_copy(update={"probe": None, **changes})
    async with running() as recorder:
        engine = Engine(recorder.url, manifest.id, served.prompts, manifest, mode=mode)
        with suppress(EngineError):
            await ask(engine)
        await engine.close()
    body: dict[str, Any] = recorder.requests[0].body
    return body


async def answer_of(served: ServedModel, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=served.url, timeout=300, trust_env=False) as client:
        answer: dict[str, Any] = (await client.post(path, json=body)).raise_for_status().json()
    return answer


async def test_ranking_tokens_are_those_of_training(ranker_server: ServedModel, reference: Reference) -> None:
    body = await recorded(ranker_server, lambda engine: engine.score(USERS[1], [PLAIN]))
    messages = [
        {"role": "query", "content": body["queries"]},
        {"role": "document", "content": body["documents"][0]},
    ]
    asked = {"messages": messages, "add_generation_prompt": False, "add_special_tokens": False}
    answer = await answer_of(ranker_server, "/tokenize", asked)
    assert answer["tokens"] == reference.prompt(USERS[1], PLAIN)


async def test_ranking_prompts_with_pictures_have_the_length_of_training(
    ranker_server: ServedModel, reference: Reference
) -> None:
    body = await recorded(ranker_server, lambda engine: engine.score(USERS[1], ITEMS))
    answer = await answer_of(ranker_server, "/score", body)
    assert answer["usage"]["prompt_tokens"] == sum(len(reference.prompt(USERS[1], item)) for item in ITEMS)


@pytest.mark.parametrize("job", ["summarize", "describe"])
async def test_generating_tokens_are_those_of_training(summarizer_server: ServedModel, job: str) -> None:
    encoder = Reference(summarizer_server).encoder
    old = "This user enjoys towers."
    if job == "summarize":
        body = await recorded(summarizer_server, lambda engine: engine.summarize(old, BLOCK))
        expected = encoder.summarize(old, BLOCK)
    else:
        body = await recorded(summarizer_server, lambda engine: engine.describe(HARBOUR))
        expected = encoder.describe(HARBOUR)
    answer = await answer_of(summarizer_server, "/v1/chat/completions", {**body, "return_token_ids": True})
    assert answer["prompt_token_ids"] == expected


@pytest.mark.parametrize("item", [HARBOUR, PLAIN], ids=["picture", "words"])
async def test_chat_mode_is_the_same_softmax(summarizer_server: ServedModel, item: ItemView) -> None:
    reference = Reference(summarizer_server)
    labels = reference.labels
    body = await recorded(summarizer_server, lambda engine: engine.score(USERS[1], [item]), mode="chat", labels=labels)
    asked = await answer_of(summarizer_server, "/v1/chat/completions", {**body, "return_token_ids": True})
    engine = summarizer_server.engine(mode="chat", labels=labels)
    scores = await engine.score(USERS[1], [item])
    await engine.close()
    assert scores == pytest.approx([reference.probability(asked["prompt_token_ids"], item)], abs=1e-5)


@pytest.mark.parametrize(
    ("items", "penalty"),
    [(WORLD, 0.0), (WORLD, 2.0), (FOREIGN, 2.0)],
    ids=["world-without-penalty", "world", "foreign"],
)
async def test_a_summary_is_the_one_that_evaluation_without_a_server_writes(
    summarizer_server: ServedModel, reference: Reference, items: Sequence[ItemView], penalty: float
) -> None:
    """Without its penalty, the demo model writes without end about items that its training did not show."""
    import numpy as np

    from model_store.msr.scratch.architecture import Sizes
    from model_store.msr.scratch.generator import Generator

    block = [InteractionView("like", replace(item, image=None)) for item in items]
    generator = Generator(
        reference.model, reference.encoder, Sizes(picture=reference.picture), np.empty((0, 1, 1, 3), np.uint8)
    )
    serving = summarizer_server.manifest.serving
    (expected,) = generator.summarize([("", block)], max_tokens=serving.max_summary_tokens, presence_penalty=penalty)
    engine = summarizer_server.engine(serving=serving.model_copy(update={"presence_penalty": penalty}))
    try:
        assert await engine.summarize("", block) == expected
    finally:
        await engine.close()
