"""`tastestream up`: Redis, vLLM, picture encoder, worker and gateway on one machine, until Ctrl-C."""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from model_store.cooccurrence import read_cooccurrence
from model_store.errors import UserError
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.serving.launch import free_port
from model_store.serving.processes import Child, ChildFailed
from service.client.client import ServiceClient
from service.http.auth import require_keys
from service.local.encoder import LocalEncoder, encoder_environment, needed_encoders
from service.local.redis import EmbeddedRedis
from service.local.targets import address, targets_written
from service.local.vllm import LocalEngine, choose, environment
from service.local.watch import unless_one_ends, watch
from service.settings import PREFIX, Settings
from service.state.store import Store

_READY_S = 30.0


async def run_up(settings: Settings, *, models: str, demo: bool, console: Console) -> None:
    """Start what the settings don't name, serve until SIGINT or SIGTERM, then stop everything.

    Raises:
        ChildFailed: a process could not start, or ended.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    serving = asyncio.create_task(_serve(settings, models, demo, console))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        console.print("\nstopping ...")
        serving.cancel()
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    console.print("stopped")


async def _serve(settings: Settings, models: str, demo: bool, console: Console) -> None:
    """Start the processes in the order of their dependencies and watch them until an error or a cancellation."""
    require_keys(settings)
    home = settings.data_dir.resolve()
    logs = home / "logs"
    _make_private(home)
    started = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_only_one(home))
        children = list[Child]()
        if not settings.redis_url:
            redis = EmbeddedRedis(home / "redis", logs / "redis.log")
            stack.push_async_callback(redis.stop)
            children.append(redis.child)
            with _step(console, "Redis"):
                await redis.start()
            settings = settings.model_copy(update={"redis_url": redis.url})
        worker = settings.worker.model_copy(update={"metrics_port": settings.worker.metrics_port or free_port()})
        settings = settings.model_copy(update={"worker": worker})
        engines = choose(settings, models, logs)
        servers: list[Child] = [engine.server for engine in engines]
        encoders = needed_encoders(settings, engines, logs)
        for encoder in encoders:
            stack.push_async_callback(encoder.child.stop)
            await encoder.child.start()
            servers.append(encoder.child)
        await unless_one_ends([*children, *servers], _start_engines(engines, encoders, settings, stack, console))
        variables = _environment(settings, home) | environment(engines) | encoder_environment(encoders)
        stack.enter_context(targets_written(home, _servers(settings, engines, encoders)))
        for name in ("gateway", "worker"):
            command = [sys.executable, "-m", "service.cli.main", name]
            child = Child(name, command, variables, logs / f"{name}.log", background=name == "worker")
            stack.push_async_callback(child.stop, 25.0)
            await child.start()
            children.append(child)
        url = f"http://{settings.host}:{settings.port}"
        with _step(console, "gateway and worker"):
            await unless_one_ends([*children, *servers], _ready(url, logs / "gateway.log"))
        console.print(f"[bold green]ready[/] after {time.monotonic() - started:.0f} s: {url}")
        if demo:
            # Without a model server the tour would wait for summaries that nobody writes.
            await unless_one_ends([*children, *servers], _play_demo(url, home, console))
        console.print(f"serving on {url} (API: {url}/docs, metrics: {url}/metrics, logs: {logs}). Ctrl-C stops.")
        await watch(children, servers, console)


async def _start_engines(
    engines: list[LocalEngine],
    encoders: list[LocalEncoder],
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    console: Console,
) -> None:
    """Start all vLLM servers, fill the store meanwhile, then wait for the servers and the encoders."""
    for engine in engines:
        stack.push_async_callback(engine.server.stop)
        await engine.start()
    for engine in engines:
        if engine.job == "ranker" and (items := await seed_cooccurrence(settings, engine.registry, engine.manifest)):
            console.print(f"  added the co-occurrence counts of {items} items from {engine.manifest.id}")
    for engine in engines:
        await engine.wait(console)
    for encoder in encoders:
        await encoder.wait(console)


async def seed_cooccurrence(settings: Settings, registry: Registry, manifest: Manifest) -> int:
    """Add the co-occurrence counts that the version was trained with to the store, once per version.

    Returns:
        The number of items added; 0 if the version has no counts or they were added before.

    Raises:
        CooccurrenceError: the version's co-occurrence file is malformed.
    """
    path = registry.cooccurrence(manifest)
    if path is None:
        return 0
    cooccurrence = read_cooccurrence(path)
    store = Store(settings)
    try:
        added = await store.cooccurrence.seed(manifest.cooccurrence, cooccurrence.counts.items(), cooccurrence.pairs())
    finally:
        await store.close()
    return len(cooccurrence.counts) if added else 0


def _environment(settings: Settings, home: Path) -> dict[str, str]:
    """The settings of gateway and worker that `up` overrides in the environment."""
    return {
        f"{PREFIX}DATA_DIR": str(home),
        f"{PREFIX}HOST": settings.host,
        f"{PREFIX}PORT": str(settings.port),
        f"{PREFIX}INSECURE": str(settings.insecure),
        f"{PREFIX}REDIS_URL": settings.redis_url or "",
        f"{PREFIX}WORKER__METRICS_PORT": str(settings.worker.metrics_port),
    }


def _servers(settings: Settings, engines: list[LocalEngine], encoders: list[LocalEncoder]) -> dict[str, str]:
    """The root of everything that has metrics, by its job."""
    worker = settings.worker
    own = {
        "gateway": address(settings.host, settings.port),
        "worker": address(worker.metrics_host, worker.metrics_port or 0),
    }
    given = {
        "summarizer": settings.summarizer.url,
        "ranker": settings.ranker.url,
        "embedder": next(iter(settings.embedder.urls), None),
    }
    started = {engine.job: engine.server.url for engine in engines}
    started |= {encoder.job: encoder.url for encoder in encoders}
    return {job: url for job, url in (own | given | started).items() if url is not None}


def _make_private(home: Path) -> None:
    """Create the data folder, unreadable for other users of the machine."""
    os.umask(0o077)
    for name in ("logs", "redis", "pictures"):
        folder = home / name
        folder.mkdir(parents=True, exist_ok=True)
        # A folder of an earlier version may be readable by all users.
        folder.chmod(0o700)


async def _play_demo(url: str, home: Path, console: Console) -> None:
    # Imported here: it needs the `train` extra.
    from service.client.tour import Tour

    async with ServiceClient(url, api_key=os.environ.get(f"{PREFIX}API_KEY")) as client:
        try:
            await Tour(client, home / "demo-world", console).run()
        except UserError as error:
            console.print(f"[yellow]the demo tour stopped:[/] {escape(str(error))}", soft_wrap=True)


async def _ready(url: str, log: Path) -> None:
    """Wait until the gateway, which writes `log`, can serve."""
    deadline = time.monotonic() + _READY_S
    async with ServiceClient(url) as client:
        while not await client.ready():
            if time.monotonic() > deadline:
                raise ChildFailed(f"the gateway did not become ready within {_READY_S:.0f} s; see {log}")
            await asyncio.sleep(0.1)


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Lock the data folder: two `up` must not share an append-only file."""
    with (home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ChildFailed(f"another `tastestream up` uses {home}. Stop it, or choose another --data-dir.") from None
        yield


@contextlib.contextmanager
def _step(console: Console, label: str) -> Iterator[None]:
    start = time.monotonic()
    with console.status(f"{label} ..."):
        yield
    console.print(f"  {label}: up after {time.monotonic() - start:.1f} s")
