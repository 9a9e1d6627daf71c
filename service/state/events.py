"""Accepting events (invariants I1, I2, I5, I6)."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, count
from operator import itemgetter
from typing import NamedTuple, TypeVar

from service.errors import StateUnavailable
from service.state import encoding, ids
from service.state.encoding import ACCEPTED_NUMBERS
from service.state.keys import Keys
from service.state.records import Accepted, Event
from service.state.redis.client import Argument
from service.state.redis.group_commit import GroupCommit
from service.state.redis.memory import MemoryReserve
from service.state.redis.scripts import Call, Scripts, unavailable

T = TypeVar("T")
EVENTS_PER_CALL = 200
"""Redis does nothing else while a script runs, and Lua takes only so many values at once."""

_BY_ARRIVAL = b"?"
"""Follows the digest of an event that may be alike to one that is no retry."""


class _Given(NamedTuple):
    """One event as the script takes it."""

    stem: str
    user_id: str
    received_at_ms: int
    request: int
    arguments: tuple[bytes, bytes, bytes]


class Events:
    """Events that arrive while others are on their way to Redis go together with the next round trip."""

    def __init__(self, scripts: Scripts, keys: Keys, memory: MemoryReserve, *, at_once: int, patience_s: float) -> None:
        self._scripts = scripts
        self._keys = keys
        self._memory = memory
        self._at_once = at_once
        self._patience_s = patience_s
        self._requests = count()
        self._groups: dict[str, GroupCommit[_Given, Accepted]] = {}

    async def accept(
        self, events: Sequence[Event], received_at_ms: int, exposures: Collection[str] = ()
    ) -> list[Accepted]:
        """Accept `events`, those of one user in their order; the result has one entry per event.

        `received_at_ms` is when the request arrived, by the caller's clock: an event received
        before its user's deletion is refused, however late it gets here. Events of the types
        `exposures` are pending and logged, but never among the recents.

        Raises:
            StateUnavailable: none, some or all were accepted. Sending the same events again is
                safe: those that were accepted are then duplicates.
            InvalidRequest: a context that can't be stored; nothing was accepted.
            Overloaded: Redis's memory is nearly used up; nothing was accepted.
        """
        self._memory.check()
        request = next(self._requests)
        given = [self._given(event, received_at_ms, request, exposures) for event in events]
        try:
            with unavailable():
                return await self._accept(given)
        except StateUnavailable as shared:
            # Everyone's own, because what a caller says with it is not the others'.
            raise StateUnavailable(
                shared.detail, retry_after_s=shared.retry_after_s, public_detail=shared.public_detail
            ) from shared

    async def _accept(self, given: Sequence[_Given]) -> list[Accepted]:
        """One group for each server, so that one that hangs holds up only those who need it."""
        if not self._scripts.clustered:
            return await self._group("").add(given)
        servers: dict[str, list[int]] = defaultdict(list)
        for place, event in enumerate(given):
            servers[self._scripts.server(event.stem)].append(place)
        groups = [self._group(server).add([given[place] for place in places]) for server, places in servers.items()]
        return _in_order(servers.values(), await asyncio.gather(*groups))

    def _group(self, server: str) -> GroupCommit[_Given, Accepted]:
        if server not in self._groups:
            self._groups[server] = GroupCommit(
                self._write, most=EVENTS_PER_CALL, at_once=self._at_once, patience_s=self._patience_s
            )
        return self._groups[server]

    def _given(self, event: Event, received_at_ms: int, request: int, exposures: Collection[str]) -> _Given:
        digest = ids.digest(event.event_id) + _BY_ARRIVAL if event.by_arrival else ids.digest(event.event_id)
        own = encoding.pending_part(event, exposure=event.type in exposures)
        parts = (digest, own, encoding.recents_entry(event))
        return _Given(self._keys.user_stem(event.user_id), event.user_id, received_at_ms, request, parts)

    async def _write(self, given: Sequence[_Given]) -> list[Accepted]:
        slots = self._by_slot(given)
        numbers = await self._scripts.run([self._call(given, users) for users in slots], durable=True)
        places = (chain.from_iterable(users) for users in slots)
        return [ACCEPTED_NUMBERS[number] for number in _in_order(places, numbers)]

    def _by_slot(self, given: Sequence[_Given]) -> list[list[list[int]]]:
        """For each script call its users, and for each of them the places of its events, in their order."""
        users: dict[tuple[str, int], list[int]] = defaultdict(list)
        for place, event in enumerate(given):
            users[event.user_id, event.request].append(place)
        if not self._scripts.clustered:
            return [list(users.values())]
        slots: dict[str, list[list[int]]] = defaultdict(list)
        for places in users.values():
            slots[given[places[0]].stem].append(places)
        return list(slots.values())

    def _call(self, given: Sequence[_Given], users: Sequence[Sequence[int]]) -> Call:
        arguments: list[Argument] = [self._scripts.now()]
        for places in users:
            stem, user_id, received_at_ms, *_ = given[places[0]]
            arguments += (stem, user_id, received_at_ms, len(places))
            for place in places:
                arguments += given[place].arguments
        stem = given[users[0][0]].stem
        return Call("accept", (f"{stem}backlog", stem), arguments)


def _in_order(places: Iterable[Iterable[int]], results: Iterable[Iterable[T]]) -> list[T]:
    """The results of groups of events as one list; `places` tells where in it those of each group belong."""
    placed = zip(chain.from_iterable(places), chain.from_iterable(results), strict=True)
    return [result for _, result in sorted(placed, key=itemgetter(0))]
