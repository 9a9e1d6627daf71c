"""One worker process: folds events, fetches, describes and encodes pictures, embeds items, until SIGTERM or SIGINT."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from importlib import import_module
from typing import Any

import uvloop
from prometheus_client import start_http_server

from service.engines import open_summarizer
from service.errors import NotReady, StateUnavailable
from service.heap import freeze_heap
from service.index.qdrant import open_qdrant_of
from service.logs import configure, get_logger
from service.metrics import Metrics
from service.metrics.look import look_at
from service.pictures.store import open_pictures
from service.pictures.tokens import token_folders
from service.settings import Settings
from service.settings.engines import EngineSettings
from service.state.kinds import KINDS
from service.state.store import Store
from service.tracing import Tracer, open_tracer
from workers.backoff import Pause, Retry
from workers.embedding_index import tend_periodically
from workers.embedding_mirror import QDRANT_TIMEOUT_S, SLOTS, Mirroring, mirror_periodically
from workers.job import Resources, Summarizer
from workers.pool import Pool
from workers.sweep import sweep_periodically

log = get_logger(__name__)

_WATCH_S = 5.0
_POOL_MAKERS: list[Callable[[Sequence[Resources]], list[Pool[Any]]]] = [
    import_module(f"workers.{kind.name}").make_pools for kind in KINDS
]
"""The job of each kind of work is in the module of that name."""


def run_worker(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT, then drain it.

    Raises:
        NotReady: Redis or the summarizer is not named in the settings.
        ManifestError: the settings name a model version that is not in the store.
        UserError: OpenTelemetry or the client of Qdrant is not installed and needed.
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
        summarizers = _open_summarizers(settings, metrics, on_exit)
        tracer = open_tracer(settings, "worker")
        if tracer is not None:
            on_exit.push_async_callback(tracer.close)
        await work(settings, summarizers, metrics, stop, tracer)


def _open_summarizers(settings: Settings, metrics: Metrics, on_exit: AsyncExitStack) -> dict[str, Summarizer]:
    """The summarizer of each tenant; tenants with the same settings share one.

    Raises:
        NotReady: a tenant has none.
    """
    opened: dict[EngineSettings, Summarizer] = {}
    for name in settings.tenant_names:
        own = settings.of_tenant(name)
        if own.summarizer not in opened:
            engine = open_summarizer(own)
            if engine is None:
                raise NotReady("no summarizer: set TASTESTREAM_SUMMARIZER__URL")
            on_exit.push_async_callback(engine.close)
            metrics.watch_engine(engine, "summarizer", "generate")
            prompt = engine.manifest.prompts_sha256[:12] if engine.manifest else "default"
            opened[own.summarizer] = Summarizer(engine, prompt, engine.prompts.signals)
    return {name: opened[settings.of_tenant(name).summarizer] for name in settings.tenant_names}


async def work(
    settings: Settings,
    summarizers: Mapping[str, Summarizer],
    metrics: Metrics,
    stop: asyncio.Event,
    tracer: Tracer | None = None,
) -> None:
    """Claim, work and commit for all tenants until `stop` is set, then finish or give back what is running.

    Args:
        summarizers: by tenant.
    """
    async with AsyncExitStack() as on_exit:
        tenants = _resources(settings, summarizers, metrics, stop, on_exit, tracer)
        qdrant, slots = open_qdrant_of(settings.embedder, QDRANT_TIMEOUT_S), asyncio.Semaphore(SLOTS)
        if qdrant is not None:
            on_exit.callback(qdrant.close)
        pools = [pool for make_pools in _POOL_MAKERS for pool in make_pools(tenants)]
        for tenant in tenants:
            model, prompt = tenant.summarizer.engine.id, tenant.summarizer.prompt
            log.info("working", tenant=tenant.store.tenant, model=model, prompt=prompt)
        async with asyncio.TaskGroup() as tasks:
            for pool in pools:
                tasks.create_task(pool.run(stop))
            for tenant in tenants:
                own = tenant.own_settings
                tokens = partial(token_folders, own, tenant.pictures)
                sweeping = sweep_periodically(tenant.store, tenant.pictures, settings.pictures, metrics, stop, tokens)
                tasks.create_task(sweeping)
                if tenant.store.embedding_queue is not None and own.embedder.url:
                    tasks.create_task(tend_periodically(tenant.store, own, metrics, stop))
                    if qdrant is not None:
                        mirroring = Mirroring(tenant.store, qdrant, metrics, slots)
                        tasks.create_task(mirror_periodically(mirroring, own.embedder.poll_s, stop))
            tasks.create_task(_watch({tenant.store.tenant: tenant.store for tenant in tenants}, metrics, stop))
    log.info("stopped")


def _resources(
    settings: Settings,
    summarizers: Mapping[str, Summarizer],
    metrics: Metrics,
    stop: asyncio.Event,
    on_exit: AsyncExitStack,
    tracer: Tracer | None,
) -> list[Resources]:
    """Those of each tenant; they share the connections to Redis."""
    retry = Retry(settings.state.max_attempts, settings.state.retry_initial_s, settings.state.retry_max_s)
    pauses = {id(one): Pause(retry, closed_s=one.engine.breaker.wait_s) for one in summarizers.values()}
    store, pictures = Store(settings), open_pictures(settings)
    on_exit.push_async_callback(store.close)
    metrics.watch_retries("redis", store.retries)
    return [
        Resources(
            settings=settings,
            store=store.of(name),
            summarizer=summarizer,
            pictures=pictures.of(settings.of_tenant(name).pictures_url),
            metrics=metrics,
            stop=stop,
            on_exit=on_exit,
            retry=retry,
            server_pause=pauses[id(summarizer)],
            tracer=tracer,
        )
        for name, summarizer in summarizers.items()
    ]


async def _watch(stores: Mapping[str, Store], metrics: Metrics, stop: asyncio.Event) -> None:
    """Update the gauges of the backlog, and trim the event logs to their age."""
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        await look_at(stores, metrics)
        with suppress(StateUnavailable):
            for store in stores.values():
                short = await store.memory.short()
                await store.log.trim(short=short)
                await store.shown_log.trim(short=short)
        await asyncio.wait({stopping}, timeout=_WATCH_S)
