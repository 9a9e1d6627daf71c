"""Accepting events (invariants I1, I2, I5, I6)."""

from collections.abc import Sequence

from service.state import encoding
from service.state.encoding import ACCEPTED_NUMBERS
from service.state.keys import Keys
from service.state.records import Accepted, Event
from service.state.scripts import Argument, Call, Scripts

EVENTS_PER_CALL = 500
"""Lua takes only so many values at once; a longer run of one user's events is cut, in order."""


class Events:
    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys

    async def accept(self, events: Sequence[Event], received_at_ms: int) -> list[Accepted]:
        """Accept `events` in one round trip, those of one user in one atomic step and in their order.

        `received_at_ms` is when the request arrived, by the caller's clock: an event received
        before its user's deletion is refused, however late it gets here. The result has one entry
        per event.

        Raises:
            StateUnavailable: none, some or all were accepted. Sending the same events again is
                safe: those that were accepted are then duplicates.
            InvalidRequest: a context that can't be stored; nothing was accepted.
        """
        parts = _by_user(events)
        calls = [self._call(events, part, received_at_ms) for part in parts]
        results: list[Accepted] = ["duplicate"] * len(events)
        for part, numbers in zip(parts, await self._scripts.run(calls), strict=True):
            for index, number in zip(part, numbers, strict=True):
                results[index] = ACCEPTED_NUMBERS[number]
        return results

    def _call(self, events: Sequence[Event], part: Sequence[int], received_at_ms: int) -> Call:
        user_id = events[part[0]].user_id
        keys = self._keys.user(user_id)
        arguments: list[Argument] = [self._scripts.now(), user_id, received_at_ms]
        for index in part:
            event = events[index]
            arguments += (
                encoding.digest(event.event_id),
                encoding.pending_entry(event),
                encoding.recents_entry(event),
            )
        names = (keys.due, keys.pending, keys.work, keys.recents, keys.seen, keys.dedupe, keys.tombstone, keys.summary)
        return Call("accept", names, arguments)


def _by_user(events: Sequence[Event]) -> list[list[int]]:
    """The events' indices, grouped by user, in groups of at most EVENTS_PER_CALL."""
    groups: dict[str, list[int]] = {}
    for index, event in enumerate(events):
        groups.setdefault(event.user_id, []).append(index)
    return [
        group[start : start + EVENTS_PER_CALL]
        for group in groups.values()
        for start in range(0, len(group), EVENTS_PER_CALL)
    ]
