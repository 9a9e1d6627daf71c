"""The loss: TRL's own without smoothing, and a mixture of both labels with it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from trl import SFTTrainer

from model_store.msr.finetune.examples import lazy_rows
from model_store.msr.finetune.finetune import make_trainer
from model_store.msr.finetune.scoring import answer_logits
from model_store.msr.finetune.setup import Setup
from model_store.progress import quiet
from tests.tiny_bases import BASES

Prepared = Callable[..., Setup]


@pytest.mark.parametrize("name", BASES)
def test_without_smoothing_the_loss_is_that_of_trl(prepared: Prepared, tmp_path: Path, name: str) -> None:
    setup = prepared(name)
    trainer = make_trainer(setup, tmp_path, quiet)
    rows = lazy_rows(setup.pairs, setup.catalogue, setup.renderer)
    batch = setup.collator([rows[number] for number in range(3)])
    trainer.model.eval()
    for count in (None, torch.tensor(3)):
        ours = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=count)
        theirs = SFTTrainer.compute_loss(trainer, trainer.model, dict(batch), num_items_in_batch=count)
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_smoothing_moves_probability_to_the_other_label_only(prepared: Prepared, tmp_path: Path) -> None:
    setup = prepared(label_smoothing=0.1)
    trainer = make_trainer(setup, tmp_path, quiet)
    rows = lazy_rows(setup.pairs, setup.catalogue, setup.renderer)
    batch = setup.collator([rows[0]])
    trainer.model.eval()
    logits, answers = answer_logits(trainer.model, batch)
    chances = logits.log_softmax(-1)[0]
    labels = setup.base.frame.labels
    other = labels.no_id if answers[0] == labels.yes_id else labels.yes_id
    expected = -(0.9 * chances[answers[0]] + 0.1 * chances[other])
    loss = trainer.compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
