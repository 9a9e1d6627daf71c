"""Cross-entropy over the items of a catalogue, or over some that are drawn if it is large."""

import torch
from torch.nn.functional import cross_entropy, embedding

NEGATIVES = 2048
"""Items that are drawn for a step; with at most twice as many items, none are drawn and all count."""


class SampledSoftmax:
    """Draws by popularity^0.75, and corrects for it (Bengio and Senécal, 2008).

    Args:
        likes: how many users liked each item, shape (items,).
    """

    def __init__(self, likes: torch.Tensor, negatives: int = NEGATIVES) -> None:
        self._negatives = negatives
        self._chance = likes**0.75 / (likes**0.75).sum()

    def __call__(
        self, tastes: torch.Tensor, targets: torch.Tensor, vectors: torch.Tensor, biases: torch.Tensor
    ) -> torch.Tensor:
        """The mean cross-entropy.

        Args:
            tastes: shape (n, dimensions).
            targets: the item that follows each, shape (n,).
            vectors: of the items, shape (items, dimensions) or with more rows, which are no items.
            biases: of the items, shape (items,).
        """
        items = len(self._chance)
        if items <= 2 * self._negatives:
            return cross_entropy(tastes @ vectors[:items].T + biases, targets)
        drawn = torch.multinomial(self._chance, self._negatives)
        corrected = biases - torch.log(self._negatives * self._chance)
        others = tastes @ embedding(drawn, vectors).T + corrected.index_select(0, drawn)
        others = others.masked_fill(drawn == targets[:, None], float("-inf"))
        own = (tastes * embedding(targets, vectors)).sum(1) + corrected.index_select(0, targets)
        return cross_entropy(torch.cat([own[:, None], others], 1), torch.zeros_like(targets))
