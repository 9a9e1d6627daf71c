"""A batch is what each prompt is alone, and its only label is the pinned answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from model_store.msr.finetune.examples import lazy_rows
from model_store.msr.finetune.finetune import load
from model_store.msr.finetune.rendering import IGNORED, Prompt
from model_store.msr.finetune.scoring import Scorer
from model_store.msr.finetune.setup import Setup
from model_store.views import ItemView, UserView
from tests.tiny_bases import BASES

Prepared = Callable[..., Setup]


def rows(setup: Setup, count: int) -> list[dict[str, Any]]:
    drawn = lazy_rows(setup.pairs, setup.catalogue, setup.renderer)
    return [drawn[number] for number in range(count)]


@pytest.mark.parametrize("name", BASES)
def test_only_the_answer_has_a_label_and_it_is_the_pinned_token(prepared: Prepared, name: str) -> None:
    setup = prepared(name)
    examples = rows(setup, 6)
    batch = setup.collator(examples)
    labels = setup.base.frame.labels
    assert {example["completion"] for example in examples} == {"yes", "no"}
    for example, own, ids, mask in zip(
        examples, batch["labels"], batch["input_ids"], batch["attention_mask"], strict=True
    ):
        (place,) = (own != IGNORED).nonzero().flatten().tolist()
        assert own[place] == ids[place] == (labels.yes_id if example["completion"] == "yes" else labels.no_id)
        assert place == len(ids) - 1
        assert mask.tolist() == sorted(mask.tolist()), "padding is not on the left"


@pytest.mark.parametrize("name", BASES)
def test_a_prompt_scores_the_same_in_a_batch_with_and_without_pictures_as_alone(prepared: Prepared, name: str) -> None:
    setup = prepared(name)
    shown = [Prompt(text=row["prompt"], picture=row["images"][0]) for row in rows(setup, 3)]
    bare = setup.renderer(UserView("This user enjoys the sea."), ItemView("Red Harbour"))
    prompts = [shown[0], bare, *shown[1:]]
    model = load(setup.base.folder, bfloat16=False)
    together, alone = (Scorer(model, setup.collator, setup.base.frame.labels, size)(prompts) for size in (4, 1))
    assert together == pytest.approx(alone, abs=1e-5)
    assert max(alone) - min(alone) > 0.01


def test_the_picture_changes_the_score(prepared: Prepared) -> None:
    setup = prepared()
    user, item = UserView(), setup.catalogue.candidate(setup.pairs[0].item_id)
    assert item.image is not None
    prompts = [setup.renderer(user, item), setup.renderer(user, item.without_picture())]
    scorer = Scorer(load(setup.base.folder, bfloat16=False), setup.collator, setup.base.frame.labels)
    with_picture, without = scorer(prompts)
    assert abs(with_picture - without) > 1e-3


def test_a_picture_that_is_broken_is_left_out(prepared: Prepared) -> None:
    setup = prepared()
    item = replace(setup.catalogue.candidate(setup.pairs[0].item_id), image=b"no picture")
    assert setup.renderer(UserView(), item) == setup.renderer(UserView(), replace(item, image=None))


def test_without_pictures_prompts_have_none(prepared: Prepared) -> None:
    setup = prepared(pictures=False)
    batch = setup.collator(rows(setup, 2))
    assert "pixel_values" not in batch
    assert torch.count_nonzero(batch["labels"] != IGNORED) == 2
