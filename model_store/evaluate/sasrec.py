"""SASRec (Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018), learned from all positions at once.

cornac's encodes every beginning of a history apart, padded to the full length, and learns from its last position alone:
up to `length` times the work for the same likes. Here one pass over a sequence predicts every next like, as in the
paper. The loss is that of item vectors, a softmax over items, instead of one negative for each position, with which
SASRec is known to fall behind (Klenitskiy and Vasilev, RecSys 2023).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from model_store.evaluate.sampled_softmax import SampledSoftmax
from model_store.progress import Report


@dataclass(frozen=True, slots=True)
class SasrecOptions:
    """The size of the model, and how it is learned."""

    dimensions: int = 64
    epochs: int = 10
    seed: int = 0
    length: int = 30
    """Likes that are read."""
    batch: int = 128
    learning_rate: float = 1e-3
    dropout: float = 0.2
    blocks: int = 2


class Sasrec:
    """A fitted model. `items`: those that training users liked."""

    def __init__(self, model: "_Model", items: Sequence[str]) -> None:
        self._model = model
        self._places = {item: place for place, item in enumerate(items)}

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """One score per candidate, higher is better. `recents`: item ids, oldest first.

        An item that no training user liked gets the lowest score: nothing is known of it.
        """
        history = [self._places[item] for item in recents if item in self._places][-self._model.options.length :]
        if not history:
            return [0.0] * len(candidates)
        with torch.no_grad():
            scores = self._model.items(self._model(torch.tensor([history]))[0, -1])
        places = [self._places.get(item) for item in candidates]
        lowest = float(scores.min())
        known = scores.tolist()
        return [lowest if place is None else known[place] for place in places]


def fit_sasrec(sequences: Sequence[Sequence[str]], options: SasrecOptions, report: Report) -> Sasrec:
    """Fit to sequences of up to `length` likes and the one that follows them, oldest first."""
    counts = Counter(chain.from_iterable(sequences))
    items = list(counts)
    places = {item: place for place, item in enumerate(items)}
    rows = torch.full((len(sequences), options.length + 1), len(items))
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = torch.tensor([places[item] for item in sequence])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = _Model(len(items), options)
        softmax = SampledSoftmax(torch.tensor([counts[item] for item in items], dtype=torch.float32))
        optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate, betas=(0.9, 0.98))
        for done, batch in _batches(len(rows), options):
            report("fitting SASRec", done, f"{len(rows):,} sequences, {len(items):,} items, {options.epochs} epochs")
            before, after = rows[batch, :-1], rows[batch, 1:]
            follows = after < len(items)
            loss = softmax(model(before)[follows], after[follows], model.embedding.weight, model.no_biases)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    report("fitting SASRec", 1.0, "")
    return Sasrec(model.eval(), items)


class _Model(nn.Module):  # type: ignore[misc]
    """Causal self-attention. Shorter sequences are filled up at their end, where no position before it looks."""

    def __init__(self, items: int, options: SasrecOptions) -> None:
        super().__init__()
        self.options = options
        self.embedding = nn.Embedding(items + 1, options.dimensions, padding_idx=items)
        self.positions = nn.Parameter(torch.zeros(options.length, options.dimensions))
        self.dropout = nn.Dropout(options.dropout)
        self.blocks = nn.Sequential(*(_Block(options) for _ in range(options.blocks)))
        self.norm = nn.LayerNorm(options.dimensions)
        self.no_biases = torch.zeros(items)
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, before: torch.Tensor) -> torch.Tensor:
        """The taste after each position of `before` (n, length); shape (n, length, dimensions)."""
        embedded = self.embedding(before) * self.options.dimensions**0.5 + self.positions[: before.shape[1]]
        tastes: torch.Tensor = self.norm(self.blocks(self.dropout(embedded)))
        return tastes

    def items(self, taste: torch.Tensor) -> torch.Tensor:
        """The scores of all items, shape (items,)."""
        return self.embedding.weight[:-1] @ taste


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, options: SasrecOptions) -> None:
        super().__init__()
        width = options.dimensions
        self.before_attention, self.before_layers = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(options.dropout), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.project(self.before_attention(x)).chunk(3, dim=-1)
        x = x + self.dropout(self.out(scaled_dot_product_attention(query, key, value, is_causal=True)))
        return x + self.dropout(self.layers(self.before_layers(x)))


def _batches(count: int, options: SasrecOptions) -> Iterator[tuple[float, torch.Tensor]]:
    """The share that is done, and the places of a batch."""
    for epoch in range(options.epochs):
        for start, batch in zip(
            range(0, count, options.batch), torch.randperm(count).split(options.batch), strict=True
        ):
            yield (epoch + start / count) / options.epochs, batch
