"""Follows the aliases in the model store, so that a promotion takes effect without a restart."""

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import NamedTuple

from model_store.engine.errors import EngineError
from model_store.errors import UserError
from model_store.registry.aliases import CANARY, PRODUCTION, SHADOW, Histories, Promotion, current, versions_named
from model_store.registry.registry import Registry
from service.engines import with_version
from service.logs import get_logger
from service.metrics import Metrics
from service.recommend.ranker import Ranker, RankerRole, open_ranker
from service.recommend.rollout import Lineup, Rollout
from service.recommend.schemas import MAX_DEADLINE_MS
from service.recommend.version_servers import Unserved, VersionServers
from service.settings import Settings
from service.settings.engines import RankerSettings

log = get_logger(__name__)
_JITTER = 0.25
_READ_TIMEOUT_S, _START_S = 10.0, 1.0
_GRACE_S = MAX_DEADLINE_MS / 1000 + 5
"""No request that began with a version is still asking it after this time."""


class Opened(NamedTuple):
    """A version on some servers, in a role: its calls are counted as those of the role."""

    role: RankerRole
    version: str
    urls: tuple[str, ...]


def follows(ranker: RankerSettings) -> bool:
    """Whether the settings name an alias, or a model without a version: a number is fixed."""
    name, _, which = (ranker.version or "").partition("@")
    return bool(ranker.urls and name) and not which.isdecimal()


class Follower:
    """Keeps the lineup of `rollout` equal to the aliases in the model store.

    Every few seconds it reads one file, in a thread. A version ranks once one of its servers serves it under its id and
    scores as its probe does. Until then production stays what it is, and the users of a canary get production. While
    the file can't be read, the last lineup stays in force.

    Args:
        settings: those of a tenant; `follows` is true for its ranker.
        rollout: with the version that the settings named at the start.
    """

    def __init__(self, settings: Settings, rollout: Rollout, first: Ranker, metrics: Metrics) -> None:
        name, _, alias = (settings.ranker.version or "").partition("@")
        self._settings, self._rollout, self._metrics = settings, rollout, metrics
        self._name, self._alias = name, alias or PRODUCTION
        self._registry = Registry(settings.models_root)
        self._servers = VersionServers(settings.ranker, first.id)
        self._production = Opened("ranker", first.id, tuple(settings.ranker.urls))
        self._open = {self._production: first}
        self._reading: asyncio.Task[Histories] | None = None
        self._had_aliases = False
        self._waiting: dict[str, tuple[str, str]] = {}
        self._unread = ""
        self._closing: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._show(Lineup(), rollout.lineup)

    async def start(self) -> None:
        """Follow until `close`. Returns when the aliases are in force, or after a second."""
        followed = asyncio.Event()
        self._task = asyncio.create_task(self._run(followed))
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                await followed.wait()

    async def close(self) -> None:
        """Close all versions that are open."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._servers.close)
            for ranker in self._open.values():
                stack.push_async_callback(ranker.close)
            tasks = [task for task in (self._task, self._reading, *self._closing) if task is not None]
            for task in tasks:
                task.cancel()
            # A read of the aliases may have failed after its time was over.
            await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Read the aliases and put them in force."""
        try:
            histories = await self._read()
        except (OSError, UserError, TimeoutError) as error:
            self._metrics.rollout_stale.labels(self._name).set(1)
            if str(error) != self._unread:
                log.error("aliases_not_read", name=self._name, error=str(error))
            self._unread = str(error)
            return
        self._metrics.rollout_stale.labels(self._name).set(0)
        self._unread = ""
        if self._servers.several or self._waiting:
            await self._servers.list()
        await self._follow(current(histories))
        named = {f"{self._name}@{number}" for number in versions_named(histories)}
        self._rollout.known = named | {opened.version for opened in self._open}

    async def _run(self, followed: asyncio.Event) -> None:
        while True:
            try:
                await self.refresh()
            except Exception:
                # One that can't be followed must not keep later promotions from taking effect.
                log.exception("rollout_failed", name=self._name)
            followed.set()
            every_s = self._settings.ranker.follow_every_s
            await asyncio.sleep(every_s * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311

    async def _read(self) -> Histories:
        """The entries of the aliases.

        Raises:
            OSError, ManifestError, TimeoutError: they can't be read, have vanished, or not in time.
        """
        # A thread that hangs can't be ended: wait for it instead of starting others.
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(self._registry.histories, self._name))
        done, _ = await asyncio.wait({self._reading}, timeout=_READ_TIMEOUT_S)
        if not done:
            raise TimeoutError(f"{self._registry.root} does not answer")
        reading, self._reading = self._reading, None
        histories = reading.result()
        if self._had_aliases and not histories:
            raise FileNotFoundError(f"the aliases of {self._name} are no longer in {self._registry.root}")
        self._had_aliases = self._had_aliases or bool(histories)
        return histories

    async def _follow(self, named: Mapping[str, Promotion]) -> None:
        self._production = await self._opened(self._alias, named.get(self._alias)) or self._production
        others: dict[str, Promotion | None] = {CANARY: None, SHADOW: None}
        if self._alias == PRODUCTION:
            for alias in others:
                promotion = named.get(alias)
                others[alias] = promotion if promotion and self._id(promotion) != self._production.version else None
        canary, shadow = [await self._opened(alias, promotion) for alias, promotion in others.items()]
        promoted = others[CANARY]
        lineup = Lineup(
            production=self._open[self._production],
            canary_id=self._id(promoted) if promoted else None,
            canary=self._open[canary] if canary else None,
            share=promoted.share if promoted else 0.0,
            shadow=self._open[shadow] if shadow else None,
        )
        if lineup != self._rollout.lineup:
            self._show(self._rollout.lineup, lineup)
            self._rollout.lineup = lineup
        self._close_unused({self._production, canary, shadow})

    def _id(self, promotion: Promotion) -> str:
        return f"{self._name}@{promotion.version}"

    async def _opened(self, alias: str, promotion: Promotion | None) -> Opened | None:
        """The version on its servers; None if there is none, or if it can't rank yet, which is logged and shown."""
        if promotion is None:
            self._show_waiting(alias)
            return None
        version = self._id(promotion)
        try:
            role: RankerRole = "canary" if alias == CANARY else "shadow" if alias == SHADOW else "ranker"
            opened = Opened(role, version, self._servers.of(version, promotion.urls))
            if opened not in self._open:
                self._open[opened] = await self._open_version(opened)
        except (OSError, UserError, EngineError) as error:
            self._show_waiting(alias, version, str(error))
            return None
        self._show_waiting(alias)
        return opened

    async def _open_version(self, opened: Opened) -> Ranker:
        settings = with_version(self._settings, opened.version, opened.urls)
        opening = asyncio.create_task(asyncio.to_thread(open_ranker, settings, self._metrics, opened.role))
        try:
            ranker = await asyncio.shield(opening)
            if ranker is None:
                raise Unserved("it has no server")
            await ranker.check()
        except BaseException:
            await _close_opened(opening)
            raise
        return ranker

    def _close_unused(self, used: set[Opened | None]) -> None:
        for opened in self._open.keys() - used:
            task = asyncio.create_task(_close_later(self._open.pop(opened)))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _show_waiting(self, alias: str, version: str = "", why: str = "") -> None:
        """Log and show once why an alias waits, until the reason is another one or there is none."""
        before = self._waiting.pop(alias, None)
        if before and before[0] != version:
            self._metrics.rollout_waiting.labels(alias, before[0]).set(0)
        if version:
            self._waiting[alias] = (version, why)
            self._metrics.rollout_waiting.labels(alias, version).set(1)
            if before != (version, why):
                log.warning("rollout_waits", alias=alias, version=version, why=why)

    def _show(self, before: Lineup, lineup: Lineup) -> None:
        for one, factor in ((before, 0.0), (lineup, 1.0)):
            shares = {
                (self._alias, one.production and one.production.id): 1 - one.share,
                (CANARY, one.canary_id): one.share,
            }
            for (alias, version), share in (shares | {(SHADOW, one.shadow and one.shadow.id): 1.0}).items():
                if version is not None:
                    self._metrics.rollout_users.labels(alias, version).set(factor * share)
        shadow = lineup.shadow.id if lineup.shadow else None
        production = lineup.production.id if lineup.production else None
        ready = lineup.canary is not None
        log.info(
            "rollout", production=production, canary=lineup.canary_id, share=lineup.share, ready=ready, shadow=shadow
        )


async def _close_later(ranker: Ranker) -> None:
    try:
        await asyncio.sleep(_GRACE_S)
    finally:
        await ranker.close()


async def _close_opened(opening: asyncio.Task[Ranker | None]) -> None:
    """Close what is opened in a thread, which can't be ended: wait for it, but not for one that hangs."""
    await asyncio.wait({opening}, timeout=_READ_TIMEOUT_S)
    if opening.done() and not opening.cancelled() and opening.exception() is None and (ranker := opening.result()):
        await ranker.close()
