"""Accepts events (invariants I1, I2, I5, I6)."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from itertools import chain, count
from operator import itemgetter
from typing import NamedTuple, TypeVar

from service.errors import StateUnavailable
from service.state import encoding, ids
from service.state.keys import Keys
from service.state.records import Accepted, Event
from service.state.redis.client import Argument
from service.state.redis.group_commit import GroupCommit
from service.state.redis.memory import MemoryReserve
from service.state.redis.scripts import Call, Scripts, unavailable

T = TypeVar("T")
EVENTS_PER_CALL = 200
"""Redis does nothing else while a script runs, and Lua limits the number of arguments."""
_CONCURRENT_WRITES = 2
_BY_ARRIVAL = b"?"
"""Follows the digest of an event that an equal one need not duplicate."""
_ACCEPTED: dict[int, Accepted] = {1: "accepted", 2: "duplicate", 3: "deleted", 4: "backlog_full", 5: "overloaded"}


class _Entry(NamedTuple):
    """One event as the script takes it."""

    stem: str
    user_id: str
    received_at_ms: int
    request: int
    arguments: tuple[bytes, bytes, bytes]


class EventWrites:
    """Writes events of all tenants: those that arrive during a round trip are sent together in the next one."""

    def __init__(self, scripts: Scripts, timeout_s: float) -> None:
        self._scripts = scripts
        self._requests = count()
        group = partial(
            GroupCommit, self._write, max_values=EVENTS_PER_CALL, max_concurrent=_CONCURRENT_WRITES, timeout_s=timeout_s
        )
        self._groups: dict[str, GroupCommit[_Entry, Accepted]] = defaultdict(group)

    def new_request(self) -> int:
        """A number that no other request has: the events of a user are written together if they are of one request."""
        return next(self._requests)

    async def add(self, entries: Sequence[_Entry]) -> list[Accepted]:
        """Write in one group per server: a server that hangs then delays only its own users."""
        if not self._scripts.clustered:
            return await self._groups[""].add(entries)
        servers: dict[str, list[int]] = defaultdict(list)
        for position, entry in enumerate(entries):
            servers[self._scripts.server(entry.stem)].append(position)
        groups = [self._groups[server].add([entries[at] for at in found]) for server, found in servers.items()]
        return _in_order(servers.values(), await asyncio.gather(*groups))

    async def _write(self, entries: Sequence[_Entry]) -> list[Accepted]:
        slots = self._by_slot(entries)
        numbers = await self._scripts.run([self._call(entries, users) for users in slots], durable=True)
        positions = (chain.from_iterable(users) for users in slots)
        return [_ACCEPTED[number] for number in _in_order(positions, numbers)]

    def _by_slot(self, entries: Sequence[_Entry]) -> list[list[list[int]]]:
        """For each script call its users, and for each of them the positions of its events, in their order."""
        users: dict[tuple[str, int], list[int]] = defaultdict(list)
        for position, entry in enumerate(entries):
            users[entry.user_id, entry.request].append(position)
        if not self._scripts.clustered:
            return [list(users.values())]
        slots: dict[str, list[list[int]]] = defaultdict(list)
        for positions in users.values():
            slots[entries[positions[0]].stem].append(positions)
        return list(slots.values())

    def _call(self, entries: Sequence[_Entry], users: Sequence[Sequence[int]]) -> Call:
        arguments: list[Argument] = [self._scripts.now()]
        for positions in users:
            stem, user_id, received_at_ms, *_ = entries[positions[0]]
            arguments += (stem, user_id, received_at_ms, len(positions))
            for at in positions:
                arguments += entries[at].arguments
        stem = entries[users[0][0]].stem
        return Call("accept", (f"{stem}backlog", stem), arguments)


class Events:
    """Accepts events of one tenant.

    Args:
        writes: shared by all tenants.
    """

    def __init__(self, writes: EventWrites, keys: Keys, memory: MemoryReserve) -> None:
        self._writes = writes
        self._keys = keys
        self._memory = memory

    async def accept(
        self, events: Sequence[Event], received_at_ms: int, exposures: Collection[str] = (), trace: str | None = None
    ) -> list[Accepted]:
        """Accept `events`, those of one user in their order. Returns one result per event.

        `received_at_ms` is when the request arrived, by the caller's clock: an event received before its user's
        deletion is refused, however late it is written. Events of the types `exposures` are pending and logged, but
        never among the recents. `trace` is kept with pending events, for the trace of their fold.

        Raises:
            StateUnavailable: none, some or all were accepted. It is safe to send them again: those that were
                accepted are then duplicates.
            InvalidRequest: a context that can't be stored; nothing was accepted.
            Overloaded: Redis is short of memory; nothing was accepted.
        """
        self._memory.check()
        request = self._writes.new_request()
        entries = [self._entry(event, received_at_ms, request, exposures, trace) for event in events]
        try:
            with unavailable():
                return await self._writes.add(entries)
        except StateUnavailable as shared:
            # A new error for each caller, since callers add to it.
            raise StateUnavailable(
                shared.detail, retry_after_s=shared.retry_after_s, public_detail=shared.public_detail
            ) from shared

    def _entry(
        self, event: Event, received_at_ms: int, request: int, exposures: Collection[str], trace: str | None
    ) -> _Entry:
        digest = ids.digest(event.event_id) + _BY_ARRIVAL if event.by_arrival else ids.digest(event.event_id)
        own = encoding.pending_part(event, exposure=event.type in exposures, trace=trace)
        arguments = (digest, own, encoding.recents_entry(event))
        return _Entry(self._keys.user_bucket(event.user_id).stem, event.user_id, received_at_ms, request, arguments)


def _in_order(positions: Iterable[Iterable[int]], results: Iterable[Iterable[T]]) -> list[T]:
    """The results of several groups as one list, in the order of the `positions` of each group."""
    placed = zip(chain.from_iterable(positions), chain.from_iterable(results), strict=True)
    return [result for _, result in sorted(placed, key=itemgetter(0))]
