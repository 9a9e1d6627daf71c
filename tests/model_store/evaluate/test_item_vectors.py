import random
from dataclasses import replace

import pytest
import torch

from model_store.evaluate.item_vectors import VectorOptions, learn_item_vectors
from model_store.item_models.item_vectors import ItemVectors

QUICK = VectorOptions(dimensions=8, epochs=20, batch=64)


def likes(users: int = 120, seed: int = 0) -> list[list[str]]:
    """Users who like one of two kinds of items, in any order."""
    rng = random.Random(seed)
    kinds = [[f"{kind}{n}" for n in range(12)] for kind in "ab"]
    return [rng.sample(rng.choice(kinds), 6) for _ in range(users)]


def gap(found: ItemVectors) -> float:
    """How much better items of the recents' kind score than others, in log-odds."""
    same, other = ([f"{kind}{n}" for n in range(6, 12)] for kind in "ab")
    recents = [f"a{n}" for n in range(6)]
    return sum(found.score(recents, same)) / 6 - sum(found.score(recents, other)) / 6


@pytest.mark.parametrize("negatives", [2048, 8])
def test_items_that_follow_each_other_score_higher(negatives: int) -> None:
    assert gap(learn_item_vectors(likes(), replace(QUICK, negatives=negatives))) > 1


def test_what_is_merely_popular_does_not() -> None:
    rng = random.Random(1)
    users = [["hit", *rng.sample([f"rare{n}" for n in range(30)], 5)] for _ in range(200)]
    for own in users:
        rng.shuffle(own)
    found = learn_item_vectors(users, QUICK)
    (hit, *rare) = found.score(["rare0", "rare1"], ["hit", *(f"rare{n}" for n in range(2, 30))])
    assert hit < max(rare)


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_callers_randomness_alone() -> None:
    state = torch.get_rng_state()
    first, second, third = (learn_item_vectors(likes(), replace(QUICK, seed=seed)).dump() for seed in (0, 0, 1))
    assert first == second != third
    assert torch.equal(torch.get_rng_state(), state)


def test_only_the_most_liked_items_get_vectors() -> None:
    found = learn_item_vectors([*likes(), ["once", "a0"]], QUICK, max_items=24)
    assert len(found.items) == 24
    assert "once" not in found.items


def test_likes_without_a_sequence_give_no_vectors() -> None:
    assert learn_item_vectors([["a"], [], ["b", "b"]], QUICK) == ItemVectors()


def test_progress_is_reported() -> None:
    told: list[float] = []
    learn_item_vectors(likes(), QUICK, lambda stage, done, note: told.append(done))
    assert told[0] == 0
    assert told[-1] == 1
    assert told == sorted(told)
