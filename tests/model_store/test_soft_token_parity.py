"""A text LLM on stock vLLM scores texts and soft tokens as it does in transformers."""

import io
from collections.abc import AsyncIterator

import pytest

from model_store.blend import logit
from model_store.engine.engine import Engine
from model_store.serving.torchvision_ops import declare
from model_store.views import InteractionView, ItemView, UserView
from tests.model_store.engine.test_vllm import metric
from tests.model_store.soft_tokens import soft_tokens
from tests.tiny_model import SOFT
from tests.vllm_servers import ServedModel

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
PLAIN = ItemView("Quiet Orchard", ("romance",))
USERS = [UserView(), UserView("This user enjoys calm harbours.", (InteractionView("like", PLAIN),))]


def tokens(seed: int) -> bytes:
    return soft_tokens(SOFT.count, SOFT.width, seed)


HARBOUR = ItemView("Red Harbour", ("drama", "mystery"), ("sea",), picture_tokens=tokens(1))
ITEMS = [HARBOUR, ItemView("Red Harbour", ("drama", "mystery"), ("sea",)), PLAIN]
ITEMS += [ItemView("Quiet Orchard", ("romance",), picture_tokens=tokens(seed)) for seed in (1, 2)]


class Reference:
    """The checkpoint in transformers. It is given the embeddings of texts, and the soft tokens between them."""

    def __init__(self, served: ServedModel) -> None:
        declare()
        import torch
        from transformers import AutoTokenizer, LlamaForCausalLM

        self.torch, self.served = torch, served
        self.tokenizer = AutoTokenizer.from_pretrained(served.weights)
        self.model = LlamaForCausalLM.from_pretrained(served.weights, dtype=torch.float32).eval()

    def score(self, user: UserView, item: ItemView) -> float:
        """The log-odds of yes against no at the first position of the answer."""
        torch, prompts, labels = self.torch, self.served.prompts, self.served.manifest.labels
        assert labels is not None
        mark = "\ue000"
        content = [prompts.rank_user(user), *([mark] if item.picture_tokens else []), prompts.rank_item(item)]
        message = {"role": "user", "content": "\n".join(content)}
        text = self.tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        with torch.no_grad():
            embed = self.model.get_input_embeddings()
            pieces = [embed(torch.tensor(self._ids(piece))) for piece in text.split(mark)]
            if item.picture_tokens:
                pieces.insert(1, torch.load(io.BytesIO(item.picture_tokens), weights_only=True))
            logits = self.model(inputs_embeds=torch.cat(pieces)[None]).logits[0, -1]
        return float(logits[labels.yes_id] - logits[labels.no_id])

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


@pytest.fixture
async def ranker(text_ranker_server: ServedModel) -> AsyncIterator[Engine]:
    engine = text_ranker_server.engine()
    yield engine
    await engine.close()


async def test_log_odds_are_those_of_transformers_with_and_without_a_picture(
    ranker: Engine, text_ranker_server: ServedModel
) -> None:
    assert ranker.way == "classify"
    reference, every = Reference(text_ranker_server), []
    for user in USERS:
        expected = [reference.score(user, item) for item in ITEMS]
        scores = await ranker.score(user, ITEMS)
        assert [logit(score) for score in scores if score is not None] == pytest.approx(expected, abs=1e-3)
        every += expected
    assert len({round(score, 2) for score in every}) == len(every), "the scores are too alike to compare anything"


async def test_the_prefix_of_a_user_is_computed_once_with_other_soft_tokens_behind_it(
    text_ranker_server: ServedModel, ranker: Engine
) -> None:
    recents = tuple(InteractionView("like", ItemView(f"Tower {n} of the long river", ("history",))) for n in range(6))
    user = UserView("A user who enjoys towers, rivers, harbours and lamps at night.", recents)
    names = ("prefix_cache_hits_total", "prefix_cache_queries_total")
    before = [await metric(text_ranker_server.url, name) for name in names]
    await ranker.score(user, [ItemView(f"Lamp {n}", ("comedy",), picture_tokens=tokens(n)) for n in range(40)])
    hits, asked = [await metric(text_ranker_server.url, name) - old for name, old in zip(names, before, strict=True)]
    assert hits / asked > 0.4


async def test_soft_tokens_of_a_wrong_shape_never_reach_the_server(ranker: Engine) -> None:
    wrong = [soft_tokens(SOFT.count, SOFT.width + 1), soft_tokens(SOFT.count + 1, SOFT.width), b"no tensor"]
    items = [ItemView("Quiet Orchard", ("romance",), picture_tokens=blob) for blob in wrong]
    assert await ranker.score(USERS[1], items) == pytest.approx((await ranker.score(USERS[1], [PLAIN])) * 3, abs=1e-6)
