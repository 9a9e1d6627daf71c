"""What training may know about the targets of the evaluation that a service would not know.

A target whose item no training user met is no leak but a cold item, which is reported as well.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from model_store.data.dataset import Dataset, user_split
from model_store.data.targets import target_position

_LEAST_EVENTS = 5
"""Two users may well have the same few events by chance."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """Leaks of the test split.

    Attributes:
        cases: test users with a target.
        duplicate_users: test users whose whole history, of at least five events, is that of a user of another split.
        repeated: test users whose last liked item they had met before; evaluation takes an earlier target.
        look_alikes: targets with the same title and picture as another item that the user met before.
        cold: targets that no training user met.
        later: the mean share, in 0..1, of training interactions that are later than a target; None if the times are
            not those of a clock.
    """

    cases: int
    duplicate_users: int
    repeated: int
    look_alikes: int
    cold: int
    later: float | None


def find_leaks(dataset: Dataset, alike: Mapping[str, str], *, is_clock: bool) -> Leaks:
    """
    Args:
        alike: item -> a text that is equal for items that look the same, of those items that have a twin.
        is_clock: whether timestamps are clock times.
    """
    training = [dataset.histories[user] for user in dataset.users("train")]
    trained_items = {event.item_id for history in training for event in history}
    moments = sorted(event.timestamp for history in training for event in history)
    cases = repeated = look_alikes = cold = 0
    later: list[float] = []
    for user in dataset.users("test"):
        events = dataset.histories[user]
        place = target_position(events, dataset.items)
        liked = [position for position, event in enumerate(events) if event.liked and event.item_id in dataset.items]
        repeated += bool(liked) and liked[-1] > 0 and liked[-1] != place
        if place is None:
            continue
        target = events[place]
        cases += 1
        cold += target.item_id not in trained_items
        twin = alike.get(target.item_id)
        look_alikes += twin is not None and any(alike.get(event.item_id) == twin for event in events[:place])
        if moments:
            later.append(1 - bisect_right(moments, target.timestamp) / len(moments))
    return Leaks(
        cases=cases,
        duplicate_users=_duplicate_users(dataset),
        repeated=repeated,
        look_alikes=look_alikes,
        cold=cold,
        later=fmean(later) if later and is_clock else None,
    )


def _duplicate_users(dataset: Dataset) -> int:
    users: dict[tuple[tuple[str, str, float | None], ...], list[str]] = defaultdict(list)
    for user, events in dataset.histories.items():
        if len(events) >= _LEAST_EVENTS:
            users[tuple((event.item_id, event.type, event.value) for event in events)].append(user)
    return sum(
        user_split(user) == "test"
        for group in users.values()
        if len({user_split(user) for user in group}) > 1
        for user in group
    )
