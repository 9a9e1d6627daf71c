"""Learns item vectors (`model_store.item_models.item_vectors`) from the likes of the training users, in their order."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch.nn.functional import embedding

from model_store.evaluate.sampled_softmax import NEGATIVES, SampledSoftmax
from model_store.item_models.item_vectors import ItemVectors
from model_store.progress import Report, quiet

MAX_ITEMS = 20_000
"""The most liked items get vectors."""
_REPORTS = 20


@dataclass(frozen=True, slots=True)
class VectorOptions:
    """How the vectors are learned. Chosen for validation users of movielens-posters and microlens-50k."""

    dimensions: int = 64
    epochs: int = 2
    """With more, vectors of microlens-50k learn the training users by heart."""
    seed: int = 0
    length: int = 20
    """Likes before the target that are read; the service keeps so many recents."""
    batch: int = 512
    learning_rate: float = 1e-2
    weight_decay: float = 0.01
    dropped: float = 0.2
    """The share of the likes before a target that are left out, drawn anew each time."""
    negatives: int = NEGATIVES
    """Other items in each step's softmax; see `SampledSoftmax`."""


def learn_item_vectors(
    liked: Iterable[Sequence[str]],
    options: VectorOptions | None = None,
    report: Report = quiet,
    *,
    max_items: int = MAX_ITEMS,
) -> ItemVectors:
    """Predict each like from those before it, by a softmax over items with one bias for each item.

    The biases take what is popular, and are not kept: the blend has popularity. Equal arguments give equal vectors.

    Args:
        liked: the likes of each training user, oldest first; a repeated one counts once.
        max_items: how many of the most liked items get vectors.
    """
    options = options or VectorOptions()
    users = [list(dict.fromkeys(items)) for items in liked]
    counts = Counter(chain.from_iterable(users))
    items = [item for item, _ in sorted(counts.items(), key=lambda pair: -pair[1])[:max_items]]
    places = {item: place for place, item in enumerate(items)}
    known = [[places[item] for item in own if item in places] for own in users]
    if not any(len(own) > 1 for own in known):
        return ItemVectors()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = _Model([counts[item] for item in items], options)
        _fit(model, known, options, report)
    vectors = model.vectors.detach()[:-1].flatten()
    return ItemVectors(tuple(items), array("f", vectors.tolist()), array("f", model.positions.detach().exp().tolist()))


class _Model(torch.nn.Module):  # type: ignore[misc]
    """The vectors with one row more, which stands for no item; biases; logarithms of the positions' weights."""

    def __init__(self, counts: Sequence[int], options: VectorOptions) -> None:
        super().__init__()
        likes = torch.tensor(counts, dtype=torch.float32)
        vectors = 0.05 * torch.randn(len(counts) + 1, options.dimensions)
        vectors[-1] = 0
        self.vectors = torch.nn.Parameter(vectors)
        self.biases = torch.nn.Parameter(torch.log(likes))
        self.positions = torch.nn.Parameter(torch.zeros(options.length))
        self.softmax = SampledSoftmax(likes, options.negatives)
        self.options = options

    def loss(self, before: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of `targets` (batch,) after `before` (batch, length), the latest first."""
        return self.softmax(self._taste(before), targets, self.vectors, self.biases)

    def _taste(self, before: torch.Tensor) -> torch.Tensor:
        present = (before < len(self.biases)) & (torch.rand(before.shape) > self.options.dropped)
        weights = self.positions.exp() * present
        total = weights.sum(1, keepdim=True).clamp(min=1e-6)
        return torch.einsum("bk,bkd->bd", weights, embedding(before, self.vectors)) / total.sqrt()


def _fit(model: _Model, users: Sequence[Sequence[int]], options: VectorOptions, report: Report) -> None:
    before, targets = _examples(users, options.length, nothing=len(model.biases))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, betas=(0.9, 0.98), weight_decay=options.weight_decay
    )
    batches = -(-len(targets) // options.batch)
    steps, warm_up = options.epochs * batches, min(200, batches // 2 + 1)
    for step, batch in enumerate(_batches(len(targets), options)):
        if step % max(1, steps // _REPORTS) == 0:
            report("item vectors", step / steps, f"of {len(model.biases):,} items")
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * min(1, (step + 1) / warm_up) * (1 - step / steps)
        loss = model.loss(before[batch], targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    report("item vectors", 1, "")


def _examples(users: Sequence[Sequence[int]], length: int, nothing: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The likes before each like but a user's first, the latest first and filled up with `nothing`; and that like."""
    before, targets = array("i"), array("i")
    for own in users:
        for place in range(1, len(own)):
            past = own[max(0, place - length) : place]
            before.extend(reversed(past))
            before.extend([nothing] * (length - len(past)))
            targets.append(own[place])
    return torch.tensor(before, dtype=torch.int64).view(-1, length), torch.tensor(targets, dtype=torch.int64)


def _batches(examples: int, options: VectorOptions) -> Iterator[torch.Tensor]:
    for _ in range(options.epochs):
        yield from torch.randperm(examples).split(options.batch)
