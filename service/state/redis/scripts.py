"""Runs the Lua scripts, in pipelines, on one Redis or on a cluster.

A script is called by its digest; a server that doesn't know it (new, restarted, or a promoted
replica) is sent the source with the same call, and caches it.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from service.errors import StateUnavailable
from service.settings import StateSettings
from service.state.keys import BUCKETS
from service.state.redis.client import Argument, Client
from service.state.redis.durability import Durability
from service.state.redis.pipelines import Command, pipelines

SPARE_RECENTS = 8
"""Recents beyond those shown that a user may have: they leave some at a time."""
SCORE_BYTES = 12
"""Of one cached score, however long the item's id is."""
FOLDER = Path(__file__).parents[1] / "lua"
_UNUSABLE = "Redis can't be used now; send it again"


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script."""

    script: str
    keys: Sequence[str]
    arguments: Sequence[Argument]
    prelude: str = ""
    """Source that goes before the script's own."""


Asked = Call | tuple[Argument, ...]
"""A script's run, or a plain command of a single key, which is its second word."""


@dataclass(frozen=True, slots=True)
class Script:
    source: str
    sha: str


class Scripts:
    """Everything that is sent to Redis goes through `run` (scripts) or `send` (plain commands).

    `now_ms` replaces Redis's clock; the clocks of hosts differ, so only tests give one.
    """

    def __init__(
        self, client: Client, settings: StateSettings, now_ms: Callable[[], int] | None = None, derived: str = "{}"
    ) -> None:
        self.client = client
        self.clustered = isinstance(client, RedisCluster)
        self._now_ms = now_ms
        self._constants = constants(settings, derived)
        self._durability = Durability.of(settings)
        self._pipelines = pipelines(client, settings)
        self._buckets = settings.buckets
        self._fits = False
        self.skew_ms = round(settings.clock_skew_s * 1000)

    def now(self) -> int:
        """The `now` argument of scripts: 0 stands for Redis's clock."""
        return 0 if self._now_ms is None else self._now_ms()

    def server(self, key: str) -> str:
        """Which server has the slot of `key`, as far as is known; "" for the only one."""
        return self._pipelines.server(key)

    async def run(self, calls: Sequence[Call], *, durable: bool = False, partly: bool = False) -> list[Any]:
        """Run `calls` in one round trip; calls with the same hash tag run in their order.

        `durable`: return only when as many replicas and disks have the writes as the settings ask for.
        `partly`: when only some fail, as when one master of a cluster is down, their results are None.

        Raises:
            StateUnavailable: Redis did not answer all of them, or too few have them; some may have
                been carried out.
        """
        scripts = [load(call.script, self._constants, call.prelude) for call in calls]
        with unavailable():
            results = await self._evaluate("EVALSHA", [script.sha for script in scripts], calls, durable)
            unknown = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
            if unknown:
                sources = [scripts[index].source for index in unknown]
                again = await self._evaluate("EVAL", sources, [calls[index] for index in unknown], durable)
                for index, result in zip(unknown, again, strict=True):
                    results[index] = result
            if partly and not all(isinstance(result, Exception) for result in results):
                return [None if isinstance(result, Exception) else result for result in results]
            return _checked(results)

    async def send(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """Send plain single-key commands in one round trip.

        Raises:
            StateUnavailable: Redis did not answer all of them.
        """
        if not commands:
            return []
        with unavailable():
            return _checked(await self._round_trip([_command(one, "", "") for one in commands]))

    async def ask(self, asked: Sequence[Asked]) -> list[Any]:
        """Run scripts and plain commands in one round trip; a result each, which may be an exception.

        Raises:
            StateUnavailable: Redis did not answer.
        """
        if not asked:
            return []
        scripts = [load(one.script, self._constants, one.prelude) if isinstance(one, Call) else None for one in asked]
        with unavailable():
            results = await self._round_trip(
                [
                    _command(one, "EVALSHA", script.sha if script else "")
                    for one, script in zip(asked, scripts, strict=True)
                ]
            )
            unknown = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
            if unknown:
                sources = [(asked[index], script.source) for index in unknown if (script := scripts[index])]
                again = await self._round_trip([_command(one, "EVAL", source) for one, source in sources])
                for index, result in zip(unknown, again, strict=True):
                    results[index] = result
        return results

    async def _round_trip(self, commands: Sequence[Command], durability: Durability | None = None) -> list[Any]:
        if not self._fits:
            await self._check_fit()
        return await self._pipelines.run(commands, durability)

    async def _check_fit(self) -> None:
        """Leave a state of another number of buckets alone: its users would be looked for in the wrong places.

        The first process to connect records the bucket count, or later if Redis is full.
        """
        read = Command(BUCKETS, ("GET", BUCKETS))
        (found,) = _checked(await self._pipelines.run([read], None))
        if found is None:
            written = Command(BUCKETS, ("SET", BUCKETS, self._buckets, "NX"))
            (found,) = _checked((await self._pipelines.run([written, read], None))[1:])
        if found is None:
            return
        if int(found) != self._buckets:
            reason = (
                f"the state in this Redis is of {int(found)} buckets, the settings say {self._buckets}: "
                f"set TASTESTREAM_STATE__BUCKETS={int(found)}, or use another Redis"
            )
            raise StateUnavailable(reason, retry_after_s=1.0, public_detail=_UNUSABLE)
        self._fits = True

    async def _evaluate(self, command: str, scripts: Sequence[str], calls: Sequence[Call], durable: bool) -> list[Any]:
        if not calls:
            return []
        commands = [_command(call, command, script) for script, call in zip(scripts, calls, strict=True)]
        return await self._round_trip(commands, self._durability if durable else None)


class _Unavailable:
    """A class and not a generator, because every event passes it."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RedisError | RedisClusterException | OSError):
            detail = str(error) or "no answer in time"
            reason = f"{type(error).__name__}: {detail}"[:200]
            # The reason names servers and addresses.
            raise StateUnavailable(reason, retry_after_s=1.0, public_detail=_UNUSABLE) from error


_UNAVAILABLE = _Unavailable()


def unavailable() -> AbstractContextManager[None]:
    """Turn what Redis and its connection raise into StateUnavailable."""
    return _UNAVAILABLE


def constants(settings: StateSettings, derived: str) -> str:
    """The line of constants before every script, see lua/_common.lua."""
    values = {
        "BLOCK": settings.block_size,
        "MAX_WAIT": round(settings.max_wait_s * 1000),
        "LEASE": round(settings.lease_s * 1000),
        "RECENTS": settings.recents,
        "SPARE": SPARE_RECENTS,
        "SEEN": settings.seen_items,
        "DEDUPE": settings.dedupe_ids,
        "DEDUPE_TTL": round(settings.dedupe_ttl_s * 1000),
        "RETRY": math.ceil(settings.retry_window_s),
        "MAX_PENDING": settings.max_pending,
        "MAX_BACKLOG": -(-settings.max_backlog // settings.buckets),
        "LOG": -(-settings.event_log_size // settings.buckets),
        "CLAIM_EVENTS": settings.claim_blocks * settings.catch_up_block,
        "TOMBSTONE": round(settings.tombstone_s * 1000),
        "SKEW": round(settings.clock_skew_s * 1000),
        "DEAD_LETTERS": settings.dead_letters,
        "SCORES": settings.score_cache_items,
        "SCORE_BYTES": SCORE_BYTES,
        "SCORES_TTL": round(settings.score_cache_ttl_s * 1000),
        "USER_TTL": round(settings.user_ttl_s * 1000),
        "DERIVED": derived,
    }
    return f"local {', '.join(values)} = {', '.join(str(value) for value in values.values())}\n"


@cache
def load(name: str, constants: str, prelude: str = "") -> Script:
    """The script lua/<name>.lua after the constants, the common functions and `prelude`."""
    source = constants + source_of("_common") + prelude + source_of(name)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def source_of(name: str) -> str:
    """What is in lua/<name>.lua."""
    return (FOLDER / f"{name}.lua").read_text("utf-8")


def answered(results: list[Any]) -> list[Any]:
    """The results as they are.

    Raises:
        StateUnavailable: one of them is an exception.
    """
    with unavailable():
        return _checked(results)


def _command(asked: Asked, command: str, script: str) -> Command:
    """`command` runs a script by its digest or its source."""
    if isinstance(asked, Call):
        return Command(asked.keys[0], (command, script, len(asked.keys), *asked.keys, *asked.arguments))
    return Command(str(asked[1]), asked)


def _checked(results: list[Any]) -> list[Any]:
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results
