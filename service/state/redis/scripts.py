"""Runs Lua scripts and plain commands, in pipelines, on one Redis or on a cluster.

A script is called by its digest. A server that doesn't know it (new, restarted, or a promoted replica) is sent its
source instead, and caches it.
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from model_store.engine.retry_budget import RetryBudget
from service.errors import StateUnavailable
from service.settings.state import StateSettings
from service.state.keys import BUCKETS
from service.state.redis.client import Argument, Client
from service.state.redis.durability import Durability
from service.state.redis.pipelines import Command, OfCluster, OfOne

SPARE_RECENTS = 8
"""Recents stored beyond those shown, so that several are moved at a time."""
SCORE_BYTES = 12
"""Size of one cached score, for an item id of any length."""
FOLDER = Path(__file__).parents[1] / "lua"
_UNUSABLE = "Redis can't be used now; send it again"


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script."""

    script: str
    keys: Sequence[str]
    arguments: Sequence[Argument]
    prelude: str = ""
    """Source that precedes the script's own."""


Operation = Call | tuple[Argument, ...]
"""A run of a script, or a plain command of a single key, which is its second word."""


@dataclass(frozen=True, slots=True)
class Script:
    source: str
    sha: str


class Scripts:
    """Everything that is sent to Redis goes through `run`, or through `attempt` where parts may fail.

    `now_ms` replaces Redis's clock; the clocks of hosts differ, so only tests pass it.
    """

    def __init__(
        self,
        client: Client,
        settings: StateSettings,
        retries: RetryBudget,
        now_ms: Callable[[], int] | None,
        derived: str,
    ) -> None:
        self.client = client
        self.clustered = isinstance(client, RedisCluster)
        self._now_ms = now_ms
        self._constants = constants(settings, derived)
        self._durability = Durability.of(settings)
        self._pipelines: OfOne | OfCluster = (
            OfCluster(client, settings, retries) if isinstance(client, RedisCluster) else OfOne(client, settings)
        )
        self._buckets = settings.buckets
        self._fits = False
        self.skew_ms = round(settings.clock_skew_s * 1000)

    def now(self) -> int:
        """The `now` argument of scripts: 0 stands for Redis's clock."""
        return 0 if self._now_ms is None else self._now_ms()

    def host_now(self) -> int:
        """The time by this host's clock, in milliseconds since the epoch."""
        return self.now() or time.time_ns() // 1_000_000

    def server(self, key: str) -> str:
        """The name of the server that has the slot of `key`; "" if it is unknown, or the only one."""
        if not isinstance(self.client, RedisCluster):
            return ""
        nodes = self.client.nodes_manager.slots_cache.get(self.client.keyslot(key))
        return nodes[0].name if nodes else ""

    async def run(self, operations: Sequence[Operation], *, durable: bool = False, partly: bool = False) -> list[Any]:
        """Run scripts and commands in one round trip; those with the same hash tag run in their order.

        `durable`: return only when as many replicas and disks have the writes as the settings require.
        `partly`: if only some fail, for example because one master of a cluster is down, their results are None.

        Raises:
            StateUnavailable: Redis did not answer all of them, or too few replicas or disks have the writes. Some
                may have run.
        """
        results = await self.attempt(operations, self._durability if durable else None)
        if partly and not all(isinstance(result, Exception) for result in results):
            return [None if isinstance(result, Exception) else result for result in results]
        return checked(results)

    async def attempt(self, operations: Sequence[Operation], durability: Durability | None = None) -> list[Any]:
        """Run scripts and commands in one round trip. Each has a result, which may be an exception.

        Raises:
            StateUnavailable: Redis did not answer, or less than `durability` was reached.
        """
        if not operations:
            return []
        with unavailable():
            if not self._fits:
                await self._check_fit()
            results = await self._pipelines.run([self._command(one, "EVALSHA") for one in operations], durability)
            unknown = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
            if unknown:
                sources = [self._command(operations[index], "EVAL") for index in unknown]
                for index, result in zip(unknown, await self._pipelines.run(sources, durability), strict=True):
                    results[index] = result
        return results

    def _command(self, operation: Operation, by: Literal["EVALSHA", "EVAL"]) -> Command:
        """The command for an operation; a script is named by its digest or given as its source."""
        if not isinstance(operation, Call):
            return Command(str(operation[1]), operation)
        keys = operation.keys
        script = load(operation.script, self._constants, operation.prelude)
        code = script.sha if by == "EVALSHA" else script.source
        return Command(keys[0], (by, code, len(keys), *keys, *operation.arguments))

    async def _check_fit(self) -> None:
        """Refuse a state with another number of buckets: its users would be looked up in the wrong buckets.

        The first process to connect records the bucket count; if Redis is full then, a later one does.
        """
        read = Command(BUCKETS, ("GET", BUCKETS))
        (found,) = checked(await self._pipelines.run([read], None))
        if found is None:
            written = Command(BUCKETS, ("SET", BUCKETS, self._buckets, "NX"))
            (found,) = checked((await self._pipelines.run([written, read], None))[1:])
        if found is None:
            return
        if int(found) != self._buckets:
            reason = (
                f"the state in this Redis has {int(found)} buckets, the settings say {self._buckets}: "
                f"set TASTESTREAM_STATE__BUCKETS={int(found)}, or use another Redis"
            )
            raise StateUnavailable(reason, retry_after_s=1.0, public_detail=_UNUSABLE)
        self._fits = True


class unavailable(AbstractContextManager[None]):  # noqa: N801 - reads like contextlib's
    """Turn what Redis and its connection raise into StateUnavailable.

    Not a generator, because every event passes it.
    """

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RedisError | RedisClusterException | OSError):
            reason = f"{type(error).__name__}: {str(error) or 'no answer in time'}"[:200]
            # The reason names servers and addresses.
            raise StateUnavailable(reason, retry_after_s=1.0, public_detail=_UNUSABLE) from error


def constants(settings: StateSettings, derived: str) -> str:
    """The line of constants that precedes every script, see lua/_common.lua."""
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
    """The text of lua/<name>.lua."""
    return (FOLDER / f"{name}.lua").read_text("utf-8")


def checked(results: list[Any]) -> list[Any]:
    """The results. Raises StateUnavailable if one of them is an exception."""
    with unavailable():
        for result in results:
            if isinstance(result, Exception):
                raise result
    return results
