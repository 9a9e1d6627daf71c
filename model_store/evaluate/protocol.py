"""The evaluation cases that every method ranks: one held-out target per user among sampled negatives.

Every table names its protocol:

- `uniform` is compatible with the papers (MLLM-MSR and its re-runs: one positive and 20 uniform
  negatives), except that the target is the true last liked item; the released code of MLLM-MSR
  picks each user's most popular items instead, which popularity alone solves.
- `popular` is the fairer one: negatives are drawn by how often training users interacted with an
  item, and knowing what is popular helps no more than a random guess.
- `time` is `popular` without knowledge of the future (Ji et al., "A Critical Study on Data Leakage in Recommender
  System Offline Evaluation", TOIS 2023): only targets after a moment of the calendar are asked, and whatever is
  learned from training users, popularity included, is learned from what they did before it.

A user's case depends on the seed, the user and the catalogue, but not on the other evaluated users.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from model_store.data.dataset import Dataset, Interaction, Split, user_split
from model_store.data.targets import target_position
from model_store.errors import UserError
from model_store.evaluate.metrics import Floats

Negatives = Literal["uniform", "popular"]


class ProtocolError(UserError):
    """The data can't be evaluated under this protocol; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How cases are drawn.

    Attributes:
        users: limits them to the first users in a seeded order; None takes the whole split.
        time_split: the share of all interactions, 0..1, after which targets may come; see `split_time`.
    """

    negatives: Negatives = "popular"
    split: Split | None = "test"
    users: int | None = None
    n_negatives: int = 20
    history: int = 50
    seed: int = 0
    time_split: float | None = None

    def __str__(self) -> str:
        after = "" if self.time_split is None else f" after {100 * self.time_split:g} % of all interactions"
        drawn = f"{self.n_negatives} {self.negatives} negatives"
        return f"last liked item{after} among {drawn}, {self.split or 'all'} users"


PROTOCOLS = {
    "uniform": Protocol("uniform"),
    "popular": Protocol("popular"),
    "time": Protocol("popular", time_split=0.8),
}
"""Protocols by the name that tables give them."""


@dataclass(frozen=True, slots=True)
class EvaluationCase:
    """One user's candidates to rank. `history`: the last events before the target, oldest first.

    `candidates` holds the target and the negatives in random order.
    """

    user_id: str
    history: tuple[Interaction, ...]
    target: str
    candidates: tuple[str, ...]
    events: int = 0
    """The user's events before the target, of which `history` has the last ones."""

    @property
    def target_position(self) -> int:
        return self.candidates.index(self.target)

    @property
    def recents(self) -> tuple[str, ...]:
        """The items of the history that the user did not dislike, oldest first: the input of collaborative methods."""
        return tuple(event.item_id for event in self.history if not event.disliked)


def make_cases(dataset: Dataset, protocol: Protocol) -> list[EvaluationCase]:
    """Draw the case of every user who liked a new item of the catalogue after at least one event.

    A user who knows nearly the whole catalogue, which leaves too few negatives, is left out.

    Raises:
        ProtocolError: no user has a case.
    """
    users = [user for user in dataset.histories if protocol.split in (None, user_split(user))]
    users.sort(key=lambda user: _number(protocol.seed, "order", user))
    moment = split_time(dataset, protocol)
    draw = _Negatives(known_before(dataset, moment), protocol)
    cases: list[EvaluationCase] = []
    for user in users:
        if len(cases) == protocol.users:
            break
        events = dataset.histories[user]
        last = target_position(events, dataset.items)
        if last is not None and events[last].timestamp >= moment:
            target = events[last].item_id
            candidates = draw(user, events, target)
            if candidates:
                history = events[max(0, last - protocol.history) : last]
                cases.append(EvaluationCase(user, history, target, candidates, last))
    if not cases:
        raise ProtocolError(
            f"no user of the {protocol.split or 'data'} set has a liked item after a first event "
            f"and {protocol.n_negatives} items left to draw {protocol.negatives} negatives from"
        )
    return cases


def split_time(dataset: Dataset, protocol: Protocol) -> float:
    """The moment that targets must not precede: of all interactions the share `time_split` came before it.

    -inf without a time split.
    """
    if protocol.time_split is None:
        return float("-inf")
    moments = [event.timestamp for events in dataset.histories.values() for event in events]
    if not moments:
        raise ProtocolError("the data has no interactions")
    return float(np.quantile(moments, protocol.time_split))


def known_before(dataset: Dataset, moment: float) -> Dataset:
    """What may be learned from for targets that come at `moment` or later; all of it for -inf."""
    if moment == float("-inf"):
        return dataset
    histories = {
        user: tuple(event for event in events if event.timestamp < moment) for user, events in dataset.histories.items()
    }
    return replace(dataset, histories=histories)


def liked_by(dataset: Dataset, *splits: Split) -> Iterator[list[str]]:
    """The distinct items that each user of these splits liked, oldest first: the input of co-occurrence counts."""
    for user in dataset.users(*splits):
        yield list(dict.fromkeys(event.item_id for event in dataset.histories[user] if event.liked))


class _Negatives:
    """Draws negatives without replacement: an item goes first with probability proportional to its weight."""

    def __init__(self, dataset: Dataset, protocol: Protocol) -> None:
        self._protocol = protocol
        self._items = list(dataset.items)
        self._places = {item: place for place, item in enumerate(self._items)}
        self._weights = np.ones(len(self._items)) if protocol.negatives == "uniform" else self._met(dataset)

    def __call__(self, user: str, events: tuple[Interaction, ...], target: str) -> tuple[str, ...]:
        rng = np.random.default_rng(_number(self._protocol.seed, self._protocol.negatives, user))
        arrivals = rng.exponential(size=len(self._items))
        weights = self._weights.copy()
        weights[[self._places[event.item_id] for event in events if event.item_id in self._places]] = 0
        drawable = np.flatnonzero(weights)
        if len(drawable) < self._protocol.n_negatives:
            return ()
        order = drawable[np.argsort(arrivals[drawable] / weights[drawable])]
        candidates = [target, *(self._items[place] for place in order[: self._protocol.n_negatives])]
        return tuple(candidates[place] for place in rng.permutation(len(candidates)))

    def _met(self, dataset: Dataset) -> Floats:
        met = Counter(event.item_id for user in dataset.users("train") for event in dataset.histories[user])
        return np.array([met[item] for item in self._items], dtype=np.float64)


def _number(seed: int, purpose: str, user: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{purpose}\0{user}".encode()).digest()[:8], "big")
