"""What an embedder learns from: pairs of items in one batch (NoteLLM-2, 3.2)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from scipy.sparse import coo_array

from model_store.retrieval.pairs import ItemPairs

Partners = Literal["all", "drawn"]


class PartnerShares:
    """How much each item of a batch says about each other one.

    The paper's loss knows one partner of an item and takes all others of the batch for strangers. Among the items of
    64 pairs, though, are more pairs that users made than the 64 that were drawn. With `all`, each of them counts by
    its strength.

    Args:
        number: of each item in the catalogue.
        partners: `all`, or `drawn` as in the paper.
    """

    def __init__(self, pairs: ItemPairs, number: Mapping[str, int], partners: Partners) -> None:
        self._strength = None
        if partners == "all":
            size = len(number)
            strength = coo_array((np.sqrt(pairs.strength), pairs.numbered(number)), shape=(size, size)).tocsr()
            self._strength = strength.maximum(strength.T).tocsr()

    def __call__(self, numbers: Sequence[int]) -> torch.Tensor:
        """The shares of partners, (2B, 2B), rows sum to 1.

        Args:
            numbers: the items of B pairs, (2B,): the item in row i was drawn with the one in row i + B.
        """
        items = torch.tensor(numbers)
        if self._strength is None:
            # Copies of the partner share its part.
            shares = (items[None, :] == items.roll(len(items) // 2)[:, None]).float()
        else:
            rows = np.asarray(numbers)
            shares = torch.from_numpy(self._strength[rows][:, rows].toarray().astype(np.float32))
        shares = shares.masked_fill(items[None, :] == items[:, None], 0.0)
        return shares / shares.sum(1, keepdim=True)


def info_nce(vectors: torch.Tensor, items: torch.Tensor, shares: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Symmetric in-batch InfoNCE: each vector has to find its partners among all others.

    Args:
        vectors: (n, dimensions).
        items: the number of each row's item, (n,). Another row of the same item is left out.
        shares: of each row's partners, (n, n); each row sums to 1.
        scale: the inverse temperature.
    """
    same = items[None, :] == items[:, None]
    logits = (scale * (vectors @ vectors.T)).masked_fill(same, float("-inf"))
    logs = torch.log_softmax(logits, dim=1).masked_fill(same, 0.0)
    return -(shares * logs).sum(1).mean()
