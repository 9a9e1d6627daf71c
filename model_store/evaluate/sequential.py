"""Sequential baselines: SASRec, and cornac's GRU4Rec and BERT4Rec, fitted on the training users' likes in their order.

A history that is longer than a model reads is cut into parts, so that it learns from every like. With only the last 31
likes of each user, GRU4Rec loses 5 AUC among popular candidates of movielens-posters, where users like 76 on average.

They score the histories of users that they never saw, and every item of the training users in one pass. An item that no
training user liked gets their lowest score: they know nothing of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

import numpy as np

from model_store.errors import UserError
from model_store.evaluate.metrics import Floats
from model_store.progress import Report
from model_store.serving.torchvision_ops import declare

SequentialName = Literal["SASRec", "GRU4Rec", "BERT4Rec"]
SEQUENTIAL: tuple[str, ...] = get_args(SequentialName)
EPOCHS = 10
_LENGTH = 30
_WIDTH = 64
_NEGATIVES, _BATCH = 512, 256
_OPTIONS: dict[str, dict[str, Any]] = {
    "GRU4Rec": {"layers": [_WIDTH]},
    "BERT4Rec": {"embedding_dim": _WIDTH, "max_len": _LENGTH},
}


class MissingExtra(UserError):
    """cornac is not installed."""


class Sequential(Protocol):
    """A fitted model."""

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """One score per candidate, higher is better. `recents`: item ids, oldest first."""
        ...


class OfCornac:
    """A fitted model of cornac. `columns` maps item ids to its rows."""

    def __init__(self, model: Any, columns: Mapping[str, int]) -> None:
        self._model = model
        self._columns = columns

    def score(self, recents: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """One score per candidate, higher is better. `recents`: item ids, oldest first."""
        history = [self._columns[item] for item in recents if item in self._columns]
        scores: Floats = np.asarray(self._model.score(0, history[-_LENGTH:]), dtype=np.float64)
        known = [self._columns.get(item) for item in candidates]
        lowest = float(scores.min())
        return [lowest if column is None else float(scores[column]) for column in known]


def fit_sequential(name: str, liked: Iterable[Sequence[str]], *, epochs: int, seed: int, report: Report) -> Sequential:
    """Fit one of `SEQUENTIAL` on the liked items of each training user, oldest first.

    Raises:
        MissingExtra: cornac is not installed.
        UserError: no user liked two items.
    """
    sessions = [part for items in liked for part in _parts(items)]
    if not sessions:
        raise UserError(f"{name} can't be fitted: no training user liked two items")
    if name == "SASRec":
        # Clients of a service compute baselines without torch.
        from model_store.evaluate.sasrec import SasrecOptions, fit_sasrec

        options = SasrecOptions(dimensions=_WIDTH, epochs=epochs, seed=seed, length=_LENGTH)
        return fit_sasrec(sessions, options, report)
    # BERT4Rec is built on that of transformers.
    declare()
    try:
        from cornac import models
        from cornac.data import SequentialDataset
    except ImportError as error:
        raise MissingExtra(
            f"{name} needs the extra `evaluate` ({error}): pip install 'tastestream[evaluate]', "
            "or choose other --baselines"
        ) from None
    rows = [(user, item, time) for user, items in enumerate(sessions) for time, item in enumerate(items)]
    data = SequentialDataset.from_sit(rows, seed=seed)
    report(f"fitting {name}", 0.0, f"{len(sessions):,} sequences, {data.num_items:,} items, {epochs} epochs")
    model = getattr(models, name)(
        n_epochs=epochs,
        seed=seed,
        n_sample=_NEGATIVES,
        # GRU4Rec reads so many sequences at the same time.
        batch_size=min(_BATCH, len(sessions)),
        **_OPTIONS[name],
    )
    model.fit(data)
    report(f"fitting {name}", 1.0, "")
    return OfCornac(model, data.iid_map)


def _parts(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """Up to `_LENGTH` items and the one that follows them, with which the next part begins."""
    for start in range(0, len(items) - 1, _LENGTH):
        yield items[start : start + _LENGTH + 1]
