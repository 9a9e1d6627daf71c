"""The whole service in real processes, with everything around it that can break."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_store.serving.launch import free_port
from service.errors import StateUnavailable
from service.settings import Settings
from service.settings.state import StateSettings
from service.state.records import Item
from service.state.store import Store
from tests.faults import backend, verdict
from tests.faults.backend import Backend, SingleRedis
from tests.faults.client import Client, numbered
from tests.faults.processes import GatewayProcess, ServiceProcess
from tests.faults.redis_proxy import RedisProxy
from tests.faults.summarizer import SummarizerServer
from tests.stores import dead_letters, popularity

QUICK: dict[str, Any] = {
    "buckets": 4,
    "max_wait_s": 0.1,
    "lease_s": 1.0,
    "max_attempts": 3,
    "retry_initial_s": 0.05,
    "retry_max_s": 0.3,
}
SUMMARIZER_TIMEOUT_S = 1.0
QUIET_S = 300.0
PATIENT_S = 20.0
"""For answers that are never late but on a busy machine."""
PATIENT: dict[str, Any] = {"lease_s": 3.0, "redis_timeout_s": PATIENT_S}
"""For tests that say which lease ends and which command is sent again."""
EVENTS_PER_USER = 24


@dataclass
class Fleet:
    """Everything that runs. The proxies stand between the first gateway, the first worker and Redis."""

    redis: Backend
    settings: StateSettings
    store: Store
    summarizer: SummarizerServer
    gateways: list[GatewayProcess]
    workers: list[ServiceProcess]
    spare: ServiceProcess
    client: Client
    gateway_proxy: RedisProxy | None = None
    worker_proxy: RedisProxy | None = None
    _numbers: Iterable[int] = field(default_factory=itertools.count, init=False)

    def caller(self, gateway: GatewayProcess) -> Client:
        """One that knows this gateway alone, waits for its answers, and writes in the same journal."""
        return Client([gateway.url], timeout_s=PATIENT_S, stories=self.client.stories)

    def new_users(self, count: int) -> list[str]:
        return [f"u{number}" for number in itertools.islice(self._numbers, count)]

    async def new_user(self, events: int = EVENTS_PER_USER) -> str:
        """A user that no test has used, with items for its events."""
        (user,) = self.new_users(1)
        await self.put_items([user], events)
        return user

    async def put_items(self, users: Sequence[str], events: int = EVENTS_PER_USER) -> None:
        """Put an item for each event of `users` into the catalogue, titled with the event's id."""
        ids = [one for user in users for one in numbered(user, range(events))]
        for start in range(0, len(ids), 1000):
            await self.store.items.put_many([Item(one, one) for one in ids[start : start + 1000]])

    async def heal(self) -> None:
        """Bring up what is down, let go on what is paused, and wait for the gateways."""
        self.summarizer.heal()
        for proxy in (self.gateway_proxy, self.worker_proxy):
            if proxy is not None:
                proxy.disarm()
        self.redis.resume()
        self.redis.start()
        backend.load_scripts(self.redis.url, self.settings)
        for process in (*self.gateways, *self.workers):
            process.resume()
            if not process.running:
                process.start()
        for process in (*self.gateways, *self.workers):
            await process.ready()
        await until(self._store_answers)

    async def _store_answers(self) -> bool:
        try:
            await self.store.summaries.due()
        except StateUnavailable:
            return False
        return True

    async def words(self, user: str) -> list[str]:
        """The events that the user's summary tells of."""
        summary = (await self.store.users.read(user)).summary
        return summary.text.split() if summary else []

    async def known(self, user: str) -> int:
        """How many of the user's events Redis holds, folded or not."""
        read = await self.store.users.read(user)
        return read.pending + (len(read.summary.text.split()) if read.summary else 0)

    async def version(self, user: str) -> int:
        """How often the summary was written."""
        summary = (await self.store.users.read(user)).summary
        return summary.version if summary else 0

    async def counted(self, ids: Sequence[str]) -> None:
        """Wait until each of these items was counted once as liked: its commit is known to have been made."""

        async def is_counted() -> bool:
            return await popularity(self.store, ids) == dict.fromkeys(ids, 1)

        await until(is_counted)

    async def ended(self, process: ServiceProcess) -> None:
        """Wait for the process's end."""

        async def has_ended() -> bool:
            return not process.running

        await until(has_ended)

    @asynccontextmanager
    async def another_worker(self) -> AsyncIterator[ServiceProcess]:
        """One more worker, straight on Redis; stopped by SIGTERM at the end."""
        self.spare.start()
        try:
            yield self.spare
            assert await self.spare.stop() == 0
        finally:
            self.spare.kill()

    async def folded(self, user: str) -> None:
        """Wait until no event of the user is pending."""
        await until(lambda: self._is_folded(user))

    async def quiet(self, users: Collection[str]) -> None:
        """Wait until no event of any of `users` is pending."""
        for user in users:
            await self.folded(user)

    async def retry_letters(self) -> int:
        """Queue all dead letters again; returns how many there were."""
        letters = await dead_letters(self.store)
        for letter in letters:
            assert letter.reason
            assert await self.store.dead_letters.retry(letter.id) == "retried"
        return len(letters)

    async def judge(self, users: Collection[str], *, letters: bool = False) -> None:
        """Wait until all is quiet, then fail with everything that is lost, doubled, out of order or left over.

        Dead letters, where `letters` allows any, are retried in between, and must then be folded, too.
        """
        await self.quiet(users)
        buried: dict[str, list[str]] = {}
        for letter in await dead_letters(self.store):
            buried.setdefault(letter.key, []).extend(event.event_id for event in letter.events)
        found = [] if letters else [f"dead letters of {user}" for user in buried]
        found += await self._complaints(users, buried)
        await self.retry_letters()
        await self.quiet(users)
        found += [f"after the retry: {one}" for one in await self._complaints(users, {}, unordered=buried)]
        found += verdict.repeated(self.summarizer.asked)
        found += verdict.left_over(backend.keys(self.redis.url))
        found += verdict.sizes_left(backend.queue_sizes(self.redis.url))
        assert not found, "\n".join(found)

    def forget(self, users: Collection[str]) -> None:
        """Let go of what was noted of `users`, so that a long run does not grow."""
        for user in users:
            del self.client.stories[user]
        self.summarizer.asked.clear()

    async def assert_gone(self, user: str) -> None:
        """Delete the user and fail when a key of it is left."""
        await self.client.delete(user)
        assert verdict.of_user(backend.keys(self.redis.url), user) == []
        assert user not in backend.log_users(self.redis.url)

    async def _complaints(
        self, users: Collection[str], buried: dict[str, list[str]], *, unordered: Collection[str] = ()
    ) -> list[str]:
        found = []
        for user in users:
            story, words = self.client.story(user), await self.words(user)
            told = verdict.complaints(story, words, buried.get(user, ()), ordered=user not in unordered)
            found += [f"{user}: {one}" for one in told]
        return found

    async def _is_folded(self, user: str) -> bool:
        return (await self.store.users.read(user)).pending == 0


async def until(condition: Callable[[], Awaitable[bool]], deadline_s: float = QUIET_S) -> None:
    """Wait for `condition`; fails after `deadline_s` seconds."""
    async with asyncio.timeout(deadline_s):
        while not await condition():  # noqa: ASYNC110 - what is waited for lies in other processes
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running_fleet(
    redis: Backend,
    folder: Path,
    *,
    gateways: int = 1,
    workers: int = 1,
    summarizer_timeout_s: float = SUMMARIZER_TIMEOUT_S,
    **state: Any,
) -> AsyncIterator[Fleet]:
    """Start the service on `redis`; on a single server, the first gateway and worker reach it through proxies."""
    quick = QUICK | state
    settings = Settings(redis_url=redis.url, data_dir=folder, state=StateSettings(**quick))
    patient = settings.state.model_copy(update={"redis_timeout_s": PATIENT_S})
    async with AsyncExitStack() as stack:
        summarizer = await stack.enter_async_context(SummarizerServer())
        proxies = [RedisProxy(redis.socket, settings.state) for _ in range(2)] if isinstance(redis, SingleRedis) else []
        for proxy in proxies:
            await stack.enter_async_context(proxy)
        common = _environment(folder, summarizer.url, quick) | {
            "TASTESTREAM_SUMMARIZER__TIMEOUT_S": str(summarizer_timeout_s)
        }
        urls = [proxy.url for proxy in proxies] or [redis.url] * 2
        serving = [
            GatewayProcess(free_port(), common | redis_at(redis.url if n else urls[0]), folder / f"gateway-{n}.log")
            for n in range(gateways)
        ]
        working = [
            ServiceProcess("worker", common | redis_at(redis.url if n else urls[1]), folder / f"worker-{n}.log")
            for n in range(workers)
        ]
        spare = ServiceProcess("worker", common | redis_at(redis.url), folder / "spare.log")
        store = Store(settings.model_copy(update={"state": patient}))
        stack.push_async_callback(store.close)
        client = await stack.enter_async_context(Client([gateway.url for gateway in serving]))
        stack.callback(_kill_all, [*serving, *working, spare])
        fleet = Fleet(redis, settings.state, store, summarizer, serving, working, spare, client, *proxies)
        try:
            await fleet.heal()
            yield fleet
        except BaseException:
            for process in (*serving, *working, spare):
                print(*process.errors(), sep="\n")
            raise


def _kill_all(processes: Iterable[ServiceProcess]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def redis_at(url: str) -> dict[str, str]:
    return {"TASTESTREAM_REDIS_URL": url}


def _environment(folder: Path, summarizer_url: str, state: dict[str, Any]) -> dict[str, str]:
    return {
        "TASTESTREAM_DATA_DIR": str(folder),
        "TASTESTREAM_SUMMARIZER__URL": summarizer_url,
        "TASTESTREAM_SUMMARIZER__MODEL": "double",
        "TASTESTREAM_WORKER__POLL_S": "0.02",
        **{f"TASTESTREAM_STATE__{name.upper()}": str(value) for name, value in state.items()},
    }
