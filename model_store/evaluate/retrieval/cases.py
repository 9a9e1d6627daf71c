"""The cases of retrieval: for a user whom training never saw, one item to find in the whole catalogue.

A share of the items is hidden from all that learns, and from histories: they stand for new items. A *warm* case asks
for the last liked item of the others. A *cold* case asks for the last liked hidden item, after the same user's visible
events up to there.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from model_store.data.dataset import Dataset, Interaction, Split
from model_store.data.targets import target_positions
from model_store.evaluate.protocol import ProtocolError
from model_store.retrieval.cold import is_cold


@dataclass(frozen=True, slots=True)
class RetrievalProtocol:
    """How cases are drawn.

    Attributes:
        users: limits warm and cold cases each to the first users in a seeded order; None takes all.
        history: the last visible events before the target that methods see.
        cold_share: the share of hidden items, 0..1.
    """

    split: Split = "test"
    users: int | None = None
    history: int = 50
    seed: int = 0
    cold_share: float = 0.1


@dataclass(frozen=True, slots=True)
class RetrievalCase:
    """One user's item to find. `history`: the last visible events before it, oldest first.

    `seen`: all items that the user met before the target; no method may answer with them.
    """

    user_id: str
    history: tuple[Interaction, ...]
    seen: frozenset[str]
    target: str

    @property
    def recents(self) -> tuple[str, ...]:
        """The items of the history that the user did not dislike, oldest first: the input of collaborative methods."""
        return tuple(event.item_id for event in self.history if not event.disliked)


@dataclass(frozen=True)
class RetrievalCases:
    """`visible`: the data without what happened to hidden items, for methods to learn from its training users."""

    visible: Dataset
    hidden: frozenset[str]
    warm: list[RetrievalCase]
    cold: list[RetrievalCase]


def make_retrieval_cases(dataset: Dataset, protocol: RetrievalProtocol) -> RetrievalCases:
    """Draw the cases, at most one warm and one cold one of each user.

    Raises:
        ProtocolError: no user of the split has a warm case.
    """
    hidden = frozenset(item for item in dataset.items if is_cold(item, protocol.seed, protocol.cold_share))
    users = sorted(dataset.users(protocol.split), key=lambda user: _order(protocol.seed, user))

    def drawn(wanted: Callable[[str], bool]) -> list[RetrievalCase]:
        cases = (_case(dataset, user, hidden, wanted, protocol.history) for user in users)
        return [case for case in cases if case is not None][: protocol.users]

    warm, cold = drawn(lambda item: item not in hidden), drawn(lambda item: item in hidden)
    if not warm:
        raise ProtocolError(f"no user of the {protocol.split} set has a liked item after a first event")
    return RetrievalCases(without(dataset, hidden), hidden, warm, cold)


def without(dataset: Dataset, hidden: Collection[str]) -> Dataset:
    """The same catalogue and users without the interactions with hidden items."""
    histories = {user: _visible(events, hidden) for user, events in dataset.histories.items()}
    return replace(dataset, histories=histories)


def _case(
    dataset: Dataset, user: str, hidden: Collection[str], wanted: Callable[[str], bool], length: int
) -> RetrievalCase | None:
    """The user's last target that is wanted and has a visible event before it."""
    events = dataset.histories[user]
    for place in reversed(target_positions(events, dataset.items)):
        target = events[place].item_id
        history = _visible(events[:place], hidden)
        if wanted(target) and history:
            seen = frozenset(event.item_id for event in events[:place])
            return RetrievalCase(user, history[-length:], seen, target)
    return None


def _visible(events: Iterable[Interaction], hidden: Collection[str]) -> tuple[Interaction, ...]:
    return tuple(event for event in events if event.item_id not in hidden)


def _order(seed: int, user: str) -> bytes:
    return hashlib.blake2b(user.encode(), digest_size=8, key=str(seed).encode()).digest()
