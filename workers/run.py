"""One worker process: folds events into summaries, fetches pictures and describes them, until SIGTERM or SIGINT."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import uvloop
from prometheus_client import start_http_server

from model_store.engine import Engine
from model_store.errors import UserError
from model_store.signals import Signals
from service.engines import open_summarizer
from service.errors import NotReady, StateUnavailable
from service.heap import freeze_heap
from service.logs import configure, get_logger
from service.metrics import Metrics
from service.pictures.decoder import PictureDecoder
from service.pictures.fetch import PictureFetcher
from service.pictures.ingest import PictureIngest
from service.pictures.store import open_pictures
from service.settings import PREFIX, Settings
from service.state.store import Store
from workers.backoff import Pause, Retry
from workers.describe import DescribeJob, Describer
from workers.fetch import FetchJob
from workers.job import Job
from workers.pool import Pool
from workers.summarize import SummarizeJob, Summarizer
from workers.sweep import Sweeping

log = get_logger(__name__)

WATCH_S = 5.0


class SummarizerEngine(Summarizer, Describer, Protocol):
    """The model that folds and describes."""


def run_worker(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT, then drain it.

    Raises:
        NotReady: Redis or the summarizer is not named in the settings.
        UserError: the port for metrics can't be listened on.
        ManifestError: the settings name a model version that is not in the store.
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
    with _metrics_port(settings, metrics):
        async with _summarizer(settings) as (engine, prompt):
            await work(settings, engine, prompt, metrics, stop, engine.prompts.signals)


async def work(
    settings: Settings,
    engine: SummarizerEngine,
    prompt: str,
    metrics: Metrics,
    stop: asyncio.Event,
    signals: Signals | None = None,
) -> None:
    """Claim, work and commit until `stop` is set, then finish or give back what is running.

    Args:
        prompt: names the prompts that `engine` asks with; kept with every summary.
        signals: what the model version and the settings take types of events for; by default, the settings alone.
    """
    store = Store.open(settings)
    state, worker, folds = settings.state, settings.worker, settings.worker.max_concurrent_summaries
    signals = signals or Signals(settings.signals.vocabulary())
    pictures = open_pictures(settings)
    fetcher, decoder = PictureFetcher(settings.pictures), PictureDecoder(settings.pictures, metrics)
    ingest = PictureIngest(settings.pictures, decoder, pictures, metrics)
    retry = Retry(state.max_attempts, state.retry_initial_s, state.retry_max_s)
    fetch_retry = Retry(
        settings.pictures.fetch_attempts, settings.pictures.fetch_retry_initial_s, settings.pictures.fetch_retry_max_s
    )
    summarize = SummarizeJob(store, engine, prompt, state, retry, metrics, folds, stopping=stop.is_set, signals=signals)
    describe = DescribeJob(store.descriptions, engine, pictures, retry, metrics)
    fetch = FetchJob(store.pictures, fetcher, ingest, fetch_retry, metrics)
    summarizer_pause, fetch_pause = (Pause(state.retry_initial_s, state.retry_max_s) for _ in range(2))
    jobs: list[tuple[Job[Any], Pause, int]] = [
        (summarize, summarizer_pause, folds + _ahead(folds)),
        (describe, summarizer_pause, worker.max_concurrent_descriptions),
        (fetch, fetch_pause, settings.pictures.max_concurrent_fetches),
    ]
    times = {"poll_s": worker.poll_s, "lease_s": state.lease_s, "drain_s": worker.drain_s}
    pools = [Pool(job, pause, concurrency=concurrency, **times) for job, pause, concurrency in jobs]
    sweeping = Sweeping(store, pictures, settings.pictures, metrics)
    log.info("working", concurrency=folds, model=engine.id, prompt=prompt)
    try:
        async with asyncio.TaskGroup() as tasks:
            for pool in pools:
                tasks.create_task(pool.run(stop))
            tasks.create_task(sweeping.run(stop))
            tasks.create_task(_watch(store, metrics, stop))
    finally:
        await fetcher.close()
        await decoder.close()
        await store.close()
    log.info("stopped")


def _ahead(concurrency: int) -> int:
    """Users claimed while the model is busy with others: their events and items are there when it falls free."""
    return -(-concurrency // 4)


async def _watch(store: Store, metrics: Metrics, stop: asyncio.Event) -> None:
    """Keep the gauges of the backlog fresh, and the event log within its age."""
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        try:
            metrics.show_waiting(await store.waiting())
            await store.log.trim(short=await store.memory.short())
        except StateUnavailable:
            metrics.redis_up.set(0)
        await asyncio.wait({stopping}, timeout=WATCH_S)


@contextlib.asynccontextmanager
async def _summarizer(settings: Settings) -> AsyncIterator[tuple[Engine, str]]:
    """The engine that the settings name, and the name of its prompts."""
    engine = open_summarizer(settings)
    if engine is None:
        raise NotReady("no summarizer: set TASTESTREAM_SUMMARIZER__URL")
    try:
        yield engine, engine.manifest.prompts_sha256[:12] if engine.manifest else "default"
    finally:
        await engine.close()


@contextlib.contextmanager
def _metrics_port(settings: Settings, metrics: Metrics) -> Iterator[None]:
    port = settings.worker.metrics_port
    if port is None:
        yield
        return
    host = settings.worker.metrics_host
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        remedy = f"Stop what uses it, or choose another {PREFIX}WORKER__METRICS_PORT."
        raise UserError(f"{host}:{port} can't be listened on ({error.strerror or error}). {remedy}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
