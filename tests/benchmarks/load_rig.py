"""Everything that a load test runs against, in processes of their own: Redis, gateway, worker, two model servers."""

import asyncio
import os
import signal
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from prometheus_client.parser import text_string_to_metric_families

from model_store.serving.launch import VllmServer, free_port
from model_store.serving.processes import BACKGROUND_NICENESS
from service.settings import Settings
from service.state.store import Store
from tests.benchmarks.fill import fold, open_store
from tests.benchmarks.load_traffic import calling
from tests.benchmarks.traffic import now_ms
from tests.benchmarks.vllm import Person, World
from tests.faults.processes import GatewayProcess, ServiceProcess
from tests.redis_servers import RedisServer

HISTORY = 12
"""Events of each user before the test."""
_SIDE = 96
_ITEMS_A_REQUEST = 50
_USERS_AT_ONCE = 500
_TMPFS_MIB = 16


class Pausable(Protocol):
    """A model server that can be made to fail."""

    def pause(self) -> None:
        """Stop it as SIGSTOP does: it takes connections and answers nothing."""

    def resume(self) -> None: ...


class PausableVllm:
    """A real vLLM server with all its processes, which run on `processors`."""

    def __init__(self, server: VllmServer, processors: frozenset[int]) -> None:
        self._server = server
        self._processors = processors

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def start_again(self) -> None:
        """Start it on the same port, and wait until it answers."""
        await self._server.stop()
        with on_processors(self._processors):
            await self._server.start()
        await self._server.wait_healthy()

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self._server.pid, number)


@dataclass
class Rig:
    """What runs.

    Attributes:
        pictures: the folder of pictures, if it is a small file system of its own that can be filled.
    """

    redis: RedisServer
    gateway: GatewayProcess
    worker: ServiceProcess
    ranker: Pausable
    summarizer: Pausable
    store: Store
    worker_metrics: str
    pictures: Path | None
    folder: Path

    async def drained(self) -> bool:
        """Whether no event waits to be folded."""
        return await self.store.users.backlog() == 0

    async def lost(self, accepted: set[str]) -> set[str]:
        """Of these event ids those that are not in the event log, which has every accepted event."""
        logged = set()
        for bucket in self.store.log.buckets:
            logged |= {entry.event.event_id async for entry in self.store.log.read(bucket)}
        return accepted - logged

    def freshness(self) -> dict[float, float]:
        """Folded events by the time from acceptance to summary: cumulative counts by upper bound in seconds."""
        return _histogram(self.worker_metrics, "tastestream_event_to_summary_seconds")

    def resident_mib(self) -> float:
        """Memory of the gateway."""
        pages = int(Path(f"/proc/{self.gateway.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@cache
def shared_out() -> tuple[frozenset[int], frozenset[int]]:
    """The processors of the ranker, and those of everything else; the same ones if there is only one."""
    processors = sorted(os.sched_getaffinity(0))
    half = len(processors) // 2
    return frozenset(processors[:half] or processors), frozenset(processors[half:])


@contextmanager
def on_processors(which: frozenset[int]) -> Iterator[None]:
    """What this thread does and starts runs on these processors only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, which)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def running_rig(
    folder: Path, environment: dict[str, str], ranker: Pausable, summarizer: Pausable, pictures: Path | None
) -> AsyncIterator[Rig]:
    """Start Redis, a gateway and, with the low priority that `tastestream up` gives it, a worker.

    Args:
        environment: settings of gateway and worker that name the model servers.
        pictures: see `Rig`.
    """
    redis = RedisServer(folder)
    redis.start("--appendfsync", "everysec")
    port = free_port()
    settings = {
        "TASTESTREAM_REDIS_URL": redis.url,
        "TASTESTREAM_DATA_DIR": str(folder / "data"),
        # All load comes from one address.
        "TASTESTREAM_LIMITS__CALLER_SHARE": "1",
        "TASTESTREAM_WORKER__METRICS_PORT": str(port),
        **({"TASTESTREAM_PICTURES__URL": str(pictures)} if pictures else {}),
        **environment,
    }
    gateway = GatewayProcess(free_port(), settings, folder / "gateway.log")
    worker = ServiceProcess("worker", settings, folder / "worker.log", BACKGROUND_NICENESS)
    store = Store(Settings(redis_url=redis.url))
    try:
        for process in (gateway, worker):
            process.start()
        for process in (gateway, worker):
            await process.ready()
        metrics = f"http://127.0.0.1:{port}/metrics"
        yield Rig(redis, gateway, worker, ranker, summarizer, store, metrics, pictures, folder)
    finally:
        for process in (gateway, worker):
            process.resume()
            process.kill()
        await store.close()
        redis.kill()


async def fill(rig: Rig, world: World, people: list[Person]) -> None:
    """Give the service the catalogue with pictures, and the users, each with a summary and recents."""
    items = [
        {
            "item_id": item.item_id,
            "title": item.title,
            "genres": item.genres,
            "image_base64": b64encode(world.picture(item.item_id, _SIDE)).decode(),
        }
        for item in world.items.values()
    ]
    async with calling(rig.gateway.url) as caller:
        for start in range(0, len(items), _ITEMS_A_REQUEST):
            body = items[start : start + _ITEMS_A_REQUEST]
            async with caller.http.post(f"{rig.gateway.url}/items", json=body) as response:
                response.raise_for_status()
    summaries = {person.user_id: world.rule_summary(person.events) for person in people}
    store = open_store(rig.redis.url, HISTORY)
    for start in range(0, len(people), _USERS_AT_ONCE):
        some = people[start : start + _USERS_AT_ONCE]
        await store.events.accept([event for person in some for event in person.events], now_ms())
        await fold(store, lambda claim: summaries[claim.key])
    await store.close()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of a few MiB; None where this user may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_TMPFS_MIB}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _histogram(url: str, name: str) -> dict[float, float]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=10) as response:
        page = response.read().decode()
    samples = (sample for family in text_string_to_metric_families(page) for sample in family.samples)
    return {float(one.labels["le"]): one.value for one in samples if one.name == f"{name}_bucket"}


async def freshness_of(rig: Rig) -> dict[float, float]:
    return await asyncio.to_thread(rig.freshness)
