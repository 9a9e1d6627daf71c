import random

import pytest

from model_store.evaluate.sequential import SEQUENTIAL, fit_sequential
from model_store.progress import quiet

pytest.importorskip("cornac")
RING = 12
EPOCHS = {"SASRec": 25, "GRU4Rec": 25, "BERT4Rec": 25}


def walks(users: int = 120) -> list[list[str]]:
    """Users who like the items of a ring one after the other."""
    rng = random.Random(0)
    starts = [rng.randrange(RING) for _ in range(users)]
    return [[f"i{(start + step) % RING}" for step in range(6)] for start in starts]


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_the_next_item_of_an_unseen_history_is_ranked_first(name: str) -> None:
    model = fit_sequential(name, walks(), epochs=EPOCHS[name], seed=0, report=quiet)
    candidates = [f"i{n}" for n in range(5, RING)]
    scores = dict(zip(candidates, model.score(["i2", "i3", "i4"], candidates), strict=True))
    assert max(scores, key=scores.__getitem__) == "i5"


def test_what_training_never_saw_has_the_lowest_score_and_an_unknown_history_none_at_all() -> None:
    model = fit_sequential("GRU4Rec", walks(50), epochs=1, seed=0, report=quiet)
    scores = model.score(["i2"], [*(f"i{n}" for n in range(RING)), "new"])
    assert scores[-1] == min(scores)
    assert len(set(model.score(["unknown"], ["i1", "i2", "new"]))) == 1


def test_the_same_seed_gives_the_same_scores() -> None:
    first, second = (fit_sequential("SASRec", walks(50), epochs=1, seed=3, report=quiet) for _ in range(2))
    assert first.score(["i1"], ["i2", "i3"]) == second.score(["i1"], ["i2", "i3"])


def test_the_beginning_of_a_long_history_is_learned_too() -> None:
    long = [f"i{n}" for n in range(100)]
    model = fit_sequential("GRU4Rec", [long], epochs=1, seed=0, report=quiet)
    assert len(set(model.score(["i0"], long))) > 1
