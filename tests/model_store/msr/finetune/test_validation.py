"""Temperature, Brier score and AUC of validation users, and the tolerances of parity."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit

from model_store.cooccurrence import Cooccurrence
from model_store.item_models.item_models import ItemModels
from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.parity import FLOAT32, PAIRS, fixed, require_equal
from model_store.msr.finetune.setup import Setup
from model_store.msr.finetune.validation import brier, fit_temperature

Prepared = Callable[..., Setup]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_log_odds_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=20_000)
    labels = (rng.random(20_000) < expit(true)).astype(float)
    assert fit_temperature(true * temperature, labels) == pytest.approx(temperature, rel=0.1)


def test_brier_counts_both_labels_the_same() -> None:
    assert brier(np.zeros(12), np.array([1.0, *[0.0] * 11])) == pytest.approx(0.25)
    p = float(expit(2.0))
    assert brier(np.full(12, 2.0), np.array([1.0, *[0.0] * 11])) == pytest.approx(((p - 1) ** 2 + p**2) / 2)
    assert brier(np.array([9.0, -9.0, -9.0]), np.array([1.0, 0.0, 0.0])) < 1e-6


def test_perfect_log_odds_have_the_auc_one(prepared: Prepared) -> None:
    validation = prepared().validation
    labels = [case.target == item for cases in validation.cases.values() for case in cases for item in case.candidates]
    found = validation.measure([1.0 if label else -1.0 for label in labels])
    assert found["auc"] == found["auc_uniform"] == found["auc_popular"] == 1
    assert validation.measure([0.0] * len(labels))["auc"] == 0.5


def test_the_blend_has_the_temperature_in_its_weight(prepared: Prepared) -> None:
    validation = prepared().validation
    rng = np.random.default_rng(0)
    labels = [case.target == item for cases in validation.cases.values() for case in cases for item in case.candidates]
    margins = [float(rng.normal() + 2 * label) for label in labels]
    nothing = (Cooccurrence({}, {}), ItemModels())
    cold, hot = (validation.blend([scale * margin for margin in margins], *nothing) for scale in (1, 4))
    assert cold.mllm == pytest.approx(4 * hot.mllm, rel=0.05)


def test_a_validation_user_has_no_later_event_in_the_prompt(prepared: Prepared) -> None:
    setup = prepared()
    cases = [case for found in setup.validation.cases.values() for case in found]
    views = iter(setup.validation.views)
    for case in cases:
        history = setup.dataset.histories[case.user_id]
        place = next(n for n, event in enumerate(history) if event.item_id == case.target)
        shown = [
            setup.dataset.items[event.item_id].title for event in history[max(0, place - setup.options.recents) : place]
        ]
        for candidate in case.candidates:
            user, item = next(views)
            assert item.title == setup.dataset.items[candidate].title
            assert [event.item.title for event in user.recents if event.item] == shown


def test_fixed_pairs_are_spread_over_all() -> None:
    assert fixed(3) == [0, 1, 2]
    assert fixed(2000) == [100 * place for place in range(PAIRS)]


def test_different_scores_are_refused() -> None:
    assert require_equal("A and B", [1.0, 2.0], [1.001, 2.0], FLOAT32) == pytest.approx(0.001)
    for other in ([1.02, 2.0], [1.006, 2.006], [math.nan, 2.0]):
        with pytest.raises(FinetuneError, match="A and B differ by"):
            require_equal("A and B", [1.0, 2.0], other, FLOAT32)
