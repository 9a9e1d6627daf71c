"""Packed rows are the prompts that a server would see one by one."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model_store.msr.scratch.catalogue import Candidates
from model_store.msr.scratch.forward import patches_of
from model_store.msr.scratch.generator import Generator
from model_store.msr.scratch.packing import PackedPrompt, Segment, fill, rope_positions
from model_store.views import InteractionView, ItemView, UserView
from tests.model_store.msr.conftest import Tiny
from tests.tiny_model import ranking_prompt

USERS = (
    UserView("Likes red, circle.", (InteractionView("like", ItemView("Old tide", ("folk",))),)),
    UserView(),
    UserView("Likes nothing yet.", (InteractionView("view", None),) * 3),
)


def unpacked_margin(tiny: Tiny, user: UserView, item: ItemView, picture: int) -> float:
    """The logits of one whole prompt, through transformers alone."""
    ids = torch.tensor([ranking_prompt(tiny.encoder, user, item)])
    extra = {}
    if item.image is not None:
        seen = tiny.processor.image_processor(
            images=[Image.fromarray(tiny.catalogue.pixels[picture])], return_tensors="pt"
        )
        extra = {**seen, "mm_token_type_ids": (ids == tiny.encoder.image_id).int()}
    with torch.inference_mode():
        logits = tiny.model(input_ids=ids, **extra).logits[0, -1]
    return float(logits[tiny.encoder.yes_id] - logits[tiny.encoder.no_id])


def test_packed_ranking_equals_each_prompt_alone(tiny: Tiny) -> None:
    candidates = Candidates(tiny.catalogue, tiny.encoder)
    shown: list[list[tuple[int, bool, bool]]] = [
        [(0, True, True), (1, False, True), (2, True, False)],
        [(3, True, True)],
        [(4, True, True), (0, True, True), (5, False, False)],
    ]
    generator = Generator(tiny.model, tiny.encoder, tiny.sizes, tiny.catalogue.pixels)
    packed = generator.rank(
        [tiny.encoder.rank_user(user) for user in USERS], [[candidates.segment(*form) for form in row] for row in shown]
    )
    for user, row, margins in zip(USERS, shown, packed, strict=True):
        for (number, picture, words), margin in zip(row, margins, strict=True):
            item = tiny.catalogue.views[number]
            item = item if picture else item.without_picture()
            item = item if words else item.without_words()
            assert margin == pytest.approx(unpacked_margin(tiny, user, item, number), abs=2e-5)


def test_prefix_and_candidate_tokens_are_those_of_the_whole_prompt(tiny: Tiny) -> None:
    items = [*tiny.catalogue.views[:5], ItemView("no picture", ("a b",)), ItemView("", image=b"x"), ItemView("(1995)")]
    for user in USERS:
        for item in items:
            assert tiny.encoder.rank_user(user) + tiny.encoder.rank_item(item) == ranking_prompt(
                tiny.encoder, user, item
            )


def test_patches_are_those_of_the_image_processor(tiny: Tiny) -> None:
    pictures = tiny.catalogue.pixels[:3]
    expected = tiny.processor.image_processor(images=[Image.fromarray(one) for one in pictures], return_tensors="pt")
    found = patches_of(pictures, tiny.sizes)
    torch.testing.assert_close(found.flatten(0, 1), expected["pixel_values"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("pictures", [(), (2,), (0, 3)])
def test_positions_are_those_of_transformers(tiny: Tiny, pictures: Sequence[int]) -> None:
    ids = [5, 6, 7]
    for _ in pictures:
        ids += [tiny.encoder.image_id] * math.prod(tiny.sizes.token_grid) + [8, 9]
    tensor = torch.tensor([ids])
    grid = torch.tensor([[1, *tiny.sizes.grid]] * len(pictures)) if pictures else None
    expected, _ = tiny.model.model.get_rope_index(
        tensor, mm_token_type_ids=(tensor == tiny.encoder.image_id).int(), image_grid_thw=grid
    )
    found, _ = rope_positions(ids, tiny.encoder.image_id, (2, 2), 0)
    np.testing.assert_array_equal(found, expected[:, 0].numpy())


@given(st.lists(st.integers(1, 50), max_size=40))
def test_every_prompt_is_packed_once(lengths: list[int]) -> None:
    prompts = [PackedPrompt(Segment([1] * length)) for length in lengths]
    rows = fill(prompts, 50)
    assert sorted(number for row in rows for number in row) == list(range(len(prompts)))
    assert all(sum(prompts[number].length for number in row) <= 50 for row in rows)


def test_a_prompt_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        fill([PackedPrompt(Segment([1] * 51))], 50)
