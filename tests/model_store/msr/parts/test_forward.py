"""Packed rows with soft tokens are the prompts that a server would see one by one."""

from typing import Any

import pytest
import torch

from model_store.msr.parts.encoding import SOFT, SoftTokenEncoder
from model_store.msr.parts.forward import decode, margins, pack_texts
from model_store.msr.scratch.catalogue import Candidates
from model_store.msr.scratch.packing import PackedPrompt, Segment
from model_store.views import InteractionView, ItemView, UserView
from tests.model_store.msr.parts.conftest import Parts

USERS = (
    UserView("Likes red, circle.", (InteractionView("like", ItemView("Old tide", ("folk",))),)),
    UserView(),
)


def alone(model: Any, encoder: SoftTokenEncoder, user: UserView, item: ItemView, soft: torch.Tensor) -> float:
    """One whole conversation through the chat template and `inputs_embeds`, as vLLM builds it."""
    mark = "<|endoftext|>"
    parts = [encoder.prompts.rank_user(user), *([mark] if item.image else []), encoder.prompts.rank_item(item)]
    ids = encoder.tokenizer.apply_chat_template(
        [{"role": "user", "content": "\n".join(parts)}], add_generation_prompt=True, return_dict=False
    )
    place = ids.index(0) if item.image else len(ids)
    vectors = model.get_input_embeddings()(torch.tensor(ids))
    embedded = torch.cat([vectors[:place], soft, vectors[place + 1 :]]) if item.image else vectors
    with torch.inference_mode():
        logits = model(inputs_embeds=embedded[None]).logits[0, -1]
    return float(logits[encoder.labels.yes_id] - logits[encoder.labels.no_id])


def test_packed_ranking_equals_each_prompt_alone(parts: Parts) -> None:
    model, encoder, catalogue = parts.loaded()
    candidates = Candidates(catalogue, encoder)
    shown = [
        [(0, True, True), (1, False, True), (2, True, False)],
        [(3, True, True), (0, True, True), (5, False, True)],
    ]
    soft = torch.randn(len(catalogue.images), 4, 32)
    prompts = [
        PackedPrompt(Segment(encoder.rank_user(user)), tuple(candidates.segment(*form) for form in row), (0.0,) * 3)
        for user, row in zip(USERS, shown, strict=True)
    ]
    for length in (max(prompt.length for prompt in prompts), sum(prompt.length for prompt in prompts)):
        batch = pack_texts(prompts, length)
        with torch.inference_mode():
            states = decode(model.model, batch, soft[list(batch.pictures)])
            head = model.get_output_embeddings().weight
            odds = margins(head, states, batch.rank_at, encoder.labels.yes_id, encoder.labels.no_id)
        for prompt, row, user in zip(range(2), shown, USERS, strict=True):
            for odd, (number, picture, words) in zip(odds[batch.rank_prompt == prompt], row, strict=True):
                item = catalogue.views[number]
                item = item if picture else item.without_picture()
                item = item if words else item.without_words()
                expected = alone(model, encoder, user, item, soft[catalogue.picture[number]])
                assert float(odd) == pytest.approx(expected, abs=2e-5)


def test_a_prompt_has_one_placeholder_per_soft_token(parts: Parts) -> None:
    _, encoder, catalogue = parts.loaded()
    ids = encoder.rank_item(catalogue.views[0])
    assert ids.count(SOFT) == 4
    assert ids[0] == ids[5] == encoder.ids("\n")[0]
    assert SOFT not in encoder.rank_item(catalogue.views[0].without_picture())
