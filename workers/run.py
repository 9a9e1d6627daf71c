"""One worker process: folds events into summaries, fetches pictures and describes them, until SIGTERM or SIGINT."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import Any

import uvloop
from prometheus_client import start_http_server

from model_store.engine.engine import Engine
from model_store.signals import Signals
from service.engines import open_summarizer
from service.errors import NotReady, StateUnavailable
from service.heap import freeze_heap
from service.logs import configure, get_logger
from service.metrics import Metrics
from service.metrics.look import look_at
from service.pictures.store import open_pictures
from service.settings import Settings
from service.state.kinds import KINDS
from service.state.store import Store
from service.tracing import Tracer, open_tracer
from workers.backoff import Pause, Retry
from workers.job import Resources
from workers.pool import Pool
from workers.sweep import sweep_periodically

log = get_logger(__name__)

_WATCH_S = 5.0
_POOL_MAKERS: list[Callable[[Resources], Pool[Any]]] = [
    import_module(f"workers.{kind.name}").make_pool for kind in KINDS
]
"""The job of each kind of work is in the module of that name."""


def run_worker(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT, then drain it.

    Raises:
        NotReady: Redis or the summarizer is not named in the settings.
        ManifestError: the settings name a model version that is not in the store.
        UserError: OpenTelemetry is not installed and needed.
    """
    configure(json=settings.log_json)
    freeze_heap()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings))


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    metrics = Metrics()
    metrics.show_limits(settings.state)
    async with AsyncExitStack() as on_exit:
        if settings.worker.metrics_port is not None:
            server, thread = start_http_server(
                settings.worker.metrics_port, settings.worker.metrics_host, metrics.registry
            )
            for close in (thread.join, server.server_close, server.shutdown):
                on_exit.callback(close)
        engine = open_summarizer(settings)
        if engine is None:
            raise NotReady("no summarizer: set TASTESTREAM_SUMMARIZER__URL")
        on_exit.push_async_callback(engine.close)
        metrics.watch_engine(engine, "summarizer", "generate")
        prompt = engine.manifest.prompts_sha256[:12] if engine.manifest else "default"
        tracer = open_tracer(settings, "worker")
        if tracer is not None:
            on_exit.push_async_callback(tracer.close)
        await work(settings, engine, prompt, engine.prompts.signals, metrics, stop, tracer)


async def work(
    settings: Settings,
    engine: Engine,
    prompt: str,
    signals: Signals,
    metrics: Metrics,
    stop: asyncio.Event,
    tracer: Tracer | None = None,
) -> None:
    """Claim, work and commit until `stop` is set, then finish or give back what is running.

    Args:
        prompt: names the prompts of `engine`; stored with every summary.
        signals: what event types mean to the model version and in the settings.
    """
    retry = Retry(settings.state.max_attempts, settings.state.retry_initial_s, settings.state.retry_max_s)
    async with AsyncExitStack() as on_exit:
        store, pictures = Store(settings), open_pictures(settings)
        on_exit.push_async_callback(store.close)
        metrics.watch_retries("redis", store.retries)
        resources = Resources(
            settings=settings,
            store=store,
            engine=engine,
            prompt=prompt,
            signals=signals,
            pictures=pictures,
            metrics=metrics,
            stop=stop,
            on_exit=on_exit,
            retry=retry,
            server_pause=Pause(retry, closed_s=engine.breaker.wait_s),
            tracer=tracer,
        )
        pools = [make_pool(resources) for make_pool in _POOL_MAKERS]
        log.info("working", concurrency=settings.worker.max_concurrent_summaries, model=engine.id, prompt=prompt)
        async with asyncio.TaskGroup() as tasks:
            for pool in pools:
                tasks.create_task(pool.run(stop))
            tasks.create_task(sweep_periodically(store, pictures, settings.pictures, metrics, stop))
            tasks.create_task(_watch(store, metrics, stop))
    log.info("stopped")


async def _watch(store: Store, metrics: Metrics, stop: asyncio.Event) -> None:
    """Update the gauges of the backlog, and trim the event log to its age."""
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        await look_at(store, metrics)
        with suppress(StateUnavailable):
            await store.log.trim(short=await store.memory.short())
        await asyncio.wait({stopping}, timeout=_WATCH_S)
