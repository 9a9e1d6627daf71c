"""What the gateway is made of, put together once at start and found by every endpoint through its request."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast

from fastapi import FastAPI, Request

from model_store.signals import Signals
from service.engines import open_summarizer
from service.events.unknown_items import UnknownItems
from service.items.intake import PictureIntake
from service.looks import Looks
from service.metrics import Metrics
from service.pictures.decoder import PictureDecoder
from service.pictures.ingest import PictureIngest
from service.pictures.store import PictureStore, open_pictures
from service.recommend.pipeline import Recommender
from service.recommend.ranker import Ranker, Server, open_ranker
from service.settings import Settings
from service.state.store import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """`ranker` and `summarizer` are None where the settings name no server; `signals` says what events mean."""

    settings: Settings
    metrics: Metrics
    store: Store
    pictures: PictureStore
    intake: PictureIntake
    ranker: Ranker | None
    recommender: Recommender
    summarizer: Server | None
    signals: Signals
    unknown_items: UnknownItems
    looks: Looks


@asynccontextmanager
async def open_parts(settings: Settings, metrics: Metrics, ranker: Ranker | None) -> AsyncIterator[Parts]:
    """Connect everything and close it again; `ranker` stands in for the one that the settings name."""
    async with AsyncExitStack() as stack:
        store = await Store.connect(settings)
        stack.push_async_callback(store.close)
        decoder = PictureDecoder(settings.pictures, metrics)
        stack.push_async_callback(decoder.close)
        ranker = ranker or open_ranker(settings, metrics)
        summarizer = open_summarizer(settings)
        for server in (ranker, summarizer):
            if server is not None:
                stack.push_async_callback(server.close)
        looks = Looks(store, metrics, ranker, summarizer)
        stack.callback(looks.close)
        pictures = open_pictures(settings)
        intake = PictureIntake(settings.pictures, PictureIngest(decoder, pictures, metrics))
        signals = (ranker.signals if ranker else None) or Signals(settings.signals.vocabulary())
        recommender = Recommender(store, pictures, ranker, signals, settings.recommend, metrics)
        unknown_items = UnknownItems(store.items, metrics.unknown_items)
        stack.push_async_callback(unknown_items.close)
        yield Parts(
            settings, metrics, store, pictures, intake, ranker, recommender, summarizer, signals, unknown_items, looks
        )


def set_parts(app: FastAPI, parts: Parts) -> None:
    app.state.parts = parts


def parts_of(request: Request) -> Parts:
    return cast("Parts", request.app.state.parts)
