from pathlib import Path

import numpy as np
import pytest

from model_store.data.dataset import Dataset
from model_store.evaluate.answers import AnswerCache
from model_store.evaluate.item_models import learn_item_models
from model_store.evaluate.refit import LoggedItem, RefitError, logged_items, refit_on_dataset, refit_on_log
from model_store.item_models.item_models import ItemScores
from model_store.progress import quiet
from tests.model_store.engine.fake_vllm import FakeVllm
from tests.model_store.evaluate.asked import make_store, subject
from tests.model_store.evaluate.worlds import world

ITEMS, LATE = 8, 1.5
"""Users look at slot s with odds s^-LATE."""


def logged(answers: int, mllm: float, collaborative: float, temperature: float) -> list[list[LoggedItem]]:
    """Answers in a shuffled order of the model alone, of which users choose one by both scores and by the slot."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(answers):
        odds, near = rng.normal(size=ITEMS), rng.exponential(size=ITEMS)
        shown = np.argsort(-odds / temperature - rng.gumbel(size=ITEMS))
        utility = mllm * odds[shown] + collaborative * np.log1p(near[shown]) - LATE * np.log(np.arange(1, ITEMS + 1))
        chosen = int(np.argmax(utility + rng.gumbel(size=ITEMS)))
        p = 1 / (1 + np.exp(-odds))
        found.append(
            [LoggedItem(p[item], near[item], 0.0, ItemScores(), place == chosen) for place, item in enumerate(shown)]
        )
    return found


def test_a_log_tells_what_users_want_from_what_they_were_shown_first() -> None:
    """The order was the model's, and users take what comes first: without the slot, it would seem to be worth more."""
    blend, evaluation, _ = refit_on_log(logged(4000, mllm=0.3, collaborative=1.0, temperature=1.0))
    assert blend.mllm / blend.collaborative == pytest.approx(0.3, abs=0.07)
    assert (blend.popular, blend.popular_discount) == (0, 0)
    assert evaluation == {"logged": {"answers": 4000, "choices": 4000}}


def test_a_short_log_is_refused() -> None:
    with pytest.raises(RefitError, match=r"has 20 items .* needs 100: log for longer"):
        refit_on_log(logged(20, 1, 1, 1.0))
    with pytest.raises(RefitError, match="has 0 items"):
        refit_on_log([[LoggedItem(0.5, 0, 0, ItemScores(), True)]] * 500)


def test_a_log_whose_features_explain_nothing_gives_no_blend() -> None:
    """All weights would be 0, and the service would rank by nothing."""
    same = [LoggedItem(0.5, 1, 1, ItemScores(), place == 0) for place in range(ITEMS)]
    with pytest.raises(RefitError, match="no feature of the log makes a choice more likely"):
        refit_on_log([same] * 200)


def test_what_was_not_logged_counts_nothing() -> None:
    (item,) = logged_items([{"mllm": None}], [True])
    assert item.features == (0, 0, 0, 0, 0)


async def test_validation_users_are_asked_for_once(fake: FakeVllm, tmp_path: Path) -> None:
    dataset = world(users=600)
    found = subject(make_store(tmp_path / "store"), fake)
    with AnswerCache(tmp_path / "answers") as cache:
        first, evaluation, learned = await refit_on_dataset(found, dataset, cache, tmp_path, quiet, count=40, seed=0)
        before = len(fake.requests)
        again, _, _ = await refit_on_dataset(found, dataset, cache, tmp_path, quiet, count=40, seed=0)
    assert first == again
    assert not [one for one in fake.requests[before:] if one.path in ("/score", "/v1/chat/completions")]
    # The version has no counts: the model and item models that are learned anew are all that the blend can use.
    assert max(first.mllm, first.item_weights, first.item_vectors) > 0
    assert first.collaborative == first.popular == 0
    assert learned == learn_item_models(dataset)
    assert evaluation["validation_auc"]["uniform"]["blend"] > 60


async def test_data_without_validation_users_is_refused(fake: FakeVllm, tmp_path: Path) -> None:
    dataset = world(users=600)
    found = subject(make_store(tmp_path / "store"), fake)
    with AnswerCache(None) as cache, pytest.raises(RefitError, match="no validation user"):
        await refit_on_dataset(found, Dataset(dataset.items, {}), cache, tmp_path, quiet, count=40, seed=0)
