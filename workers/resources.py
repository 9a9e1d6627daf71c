"""What all jobs of one worker share."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from model_store.engine import Engine
from model_store.signals import Signals
from service.metrics import Metrics
from service.pictures.store import PictureStore
from service.settings import Settings
from service.state.store import Store
from workers.backoff import Pause, Retry


@dataclass(frozen=True, slots=True)
class Resources:
    """What each job is built from.

    Args:
        prompt: names the prompts of `engine`; stored with every summary.
        signals: what event types mean.
        stop: set when the worker must drain.
        on_exit: closes what a job opened.
        retry: for jobs that need the model server.
        server_pause: shared by the jobs that need the model server.
    """

    settings: Settings
    store: Store
    engine: Engine
    prompt: str
    signals: Signals
    pictures: PictureStore
    metrics: Metrics
    stop: asyncio.Event
    on_exit: AsyncExitStack
    retry: Retry
    server_pause: Pause
