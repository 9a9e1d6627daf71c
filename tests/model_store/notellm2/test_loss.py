"""The loss, and which partners it knows."""

import math

import numpy as np
import pytest
import torch

from model_store.notellm2.loss import PartnerShares, info_nce
from model_store.retrieval.pairs import ItemPairs

SCALE = torch.tensor(10.0)
ITEMS = ["a", "b", "c", "d"]
NUMBER = {item: number for number, item in enumerate(ITEMS)}
PAIRS = ItemPairs(ITEMS, np.array([0, 0, 2, 1]), np.array([1, 2, 0, 3]), np.array([4.0, 1.0, 9.0, 16.0]))


def _vectors(count: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(count, 4), dim=-1)


def test_each_vector_looks_for_its_partners_among_all_others() -> None:
    vectors, shares = _vectors(4), torch.zeros(4, 4)
    for row, column, share in ((0, 1, 1.0), (1, 0, 1.0), (2, 0, 0.25), (2, 3, 0.75), (3, 2, 1.0)):
        shares[row, column] = share
    expected = 0.0
    for row in range(4):
        logits = {other: 10.0 * float(vectors[row] @ vectors[other]) for other in range(4) if other != row}
        whole = math.log(sum(map(math.exp, logits.values())))
        expected += sum(float(shares[row, other]) * (whole - logit) for other, logit in logits.items())
    assert float(info_nce(vectors, torch.arange(4), shares, SCALE)) == pytest.approx(expected / 4, abs=1e-5)


def test_another_row_of_the_same_item_is_neither_partner_nor_stranger() -> None:
    vectors = _vectors(4)
    vectors[1] = vectors[0]
    items = torch.tensor([0, 0, 1, 2])
    shares = torch.tensor([[0, 0, 1, 0], [0, 0, 0, 1], [0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0]])

    def loss(row: int, partners: list[int], others: list[int]) -> float:
        logits = [10.0 * float(vectors[row] @ vectors[one]) for one in (*partners, *others)]
        return math.log(sum(map(math.exp, logits))) - sum(logits[: len(partners)]) / len(partners)

    expected = loss(0, [2], [3]) + loss(1, [3], [2]) + loss(2, [0, 1], [3]) + loss(3, [0, 1], [2])
    assert float(info_nce(vectors, items, shares, SCALE)) == pytest.approx(expected / 4, abs=1e-5)


def test_all_partners_of_a_step_count_by_the_root_of_their_strength() -> None:
    # Drawn were (a, b) and (c, a); a and c are a pair as well, in both directions, of which the stronger counts.
    shares = PartnerShares(PAIRS, NUMBER, "all")([0, 2, 1, 0])
    expected = torch.tensor([[0, 3, 2, 0], [3, 0, 0, 3], [2, 0, 0, 2], [0, 3, 2, 0]])
    torch.testing.assert_close(shares, expected / expected.sum(1, keepdim=True))


def test_the_paper_knows_the_drawn_partner_alone_and_its_copies() -> None:
    shares = PartnerShares(PAIRS, NUMBER, "drawn")([0, 2, 1, 0])
    expected = torch.tensor([[0, 0, 1, 0], [0.5, 0, 0, 0.5], [0.5, 0, 0, 0.5], [0, 1, 0, 0]])
    torch.testing.assert_close(shares, expected)
