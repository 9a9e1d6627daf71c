"""The pairs that a training is validated with."""

import numpy as np
import torch

from model_store.evaluate.metrics import auc, hit_rate_at_k
from model_store.notellm2.sampling import PairValidation
from model_store.retrieval.pairs import ItemPairs

POOL = PairValidation(range(5), [(0, 1), (2, 3)])


def test_a_rank_counts_the_other_items_that_are_nearer() -> None:
    angles = torch.tensor([0.0, 0.3, 1.0, 0.9, 0.1])
    ranks = POOL.ranks(torch.stack([angles.cos(), angles.sin()], 1))
    assert ranks.above.tolist() == [1, 0]
    assert ranks.tied.tolist() == [0, 0]
    assert ranks.negatives.tolist() == [3, 3]


def test_vectors_that_are_all_the_same_find_what_chance_finds() -> None:
    ranks = POOL.ranks(torch.full((5, 4), 0.5))
    assert auc(ranks).tolist() == [0.5, 0.5]
    assert hit_rate_at_k(ranks, 1).tolist() == [0.25, 0.25]


def test_the_pool_has_items_of_pairs_and_others_up_to_its_size() -> None:
    number = {str(item): item for item in range(100)}
    found = PairValidation.among(
        ItemPairs(list(number), np.arange(40), np.arange(40) + 1, np.ones(40)), number, size=30, seed=0
    )
    assert len(set(found.pool)) == len(found.pool) == 30
    assert len(found.targets) >= 7
    assert all(found.pool[b] == found.pool[a] + 1 for a, b in found.targets)
