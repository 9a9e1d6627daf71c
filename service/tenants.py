"""What each tenant has of its own in a gateway, and what it shares with the others."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from model_store.engine.engine import Engine
from model_store.signals import Signals
from service.engines import open_summarizer
from service.events.ingest import EventIngest
from service.events.unknown_items import UnknownItems
from service.http.tenants import PerTenant
from service.items.catalogue import Catalogue
from service.metrics import Metrics
from service.pictures.decoder import PictureDecoder
from service.pictures.ingest import PictureIngest
from service.pictures.store import PictureStore, open_pictures
from service.recommend.pipeline import Recommender
from service.recommend.ranker import Ranker, open_ranker
from service.settings import EngineSettings, Settings
from service.state.store import Store


@dataclass(frozen=True, slots=True)
class Tenant:
    """The parts of a gateway that read and write what one tenant has."""

    store: Store
    ingest: EventIngest
    unknown_items: UnknownItems
    recommender: Recommender
    catalogue: Catalogue


class Tenants:
    """The tenants of the settings. They share the connections to Redis, the processes that decode pictures, and the
    model servers that they have in common.

    Args:
        store, ranker: replace those of the settings, and are closed with the others.

    Attributes:
        store: that of `default`.
        named: by name, `default` first.
        rankers, summarizers: each model server once, None for tenants that have none.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, store: Store | None = None, ranker: Ranker | None = None
    ) -> None:
        self._metrics = metrics
        self.store = store or Store(settings)
        self._pictures = open_pictures(settings)
        self._decoder = PictureDecoder(settings.pictures, metrics)
        self.rankers: dict[EngineSettings, Ranker | None] = {settings.ranker: ranker} if ranker else {}
        self.summarizers: dict[EngineSettings, Engine | None] = {}
        self.named = {name: self._tenant(name, settings.of_tenant(name)) for name in settings.tenant_names}

    def chosen(self, *, keys: bool) -> PerTenant[Tenant]:
        """Chooses the tenant of a request; `keys`: by its API key."""
        return PerTenant(self.named, keys=keys)

    async def close(self) -> None:
        """Close everything, also what the tenants share."""
        async with AsyncExitStack() as stack:
            shared = (self.store, self._decoder, *self.rankers.values(), *self.summarizers.values())
            for opened in (*shared, *(tenant.unknown_items for tenant in self.named.values())):
                if opened is not None:
                    stack.push_async_callback(opened.close)

    def _tenant(self, name: str, settings: Settings) -> Tenant:
        metrics, store = self._metrics, self.store.of(name)
        ranker = self._ranker(settings)
        self._open_summarizer(settings)
        signals = ranker.signals if ranker else Signals(settings.signals.vocabulary())
        pictures = self._pictures.of(settings.pictures_url)
        unknown_items = UnknownItems(store.items, metrics.unknown_items)
        return Tenant(
            store=store,
            ingest=EventIngest(store.events, unknown_items, signals, metrics, ranker.id if ranker else None, name),
            unknown_items=unknown_items,
            recommender=Recommender(store, pictures, ranker, signals, settings.recommend, metrics, name),
            catalogue=Catalogue(store.items, self._ingest(settings, pictures), metrics),
        )

    def _ranker(self, settings: Settings) -> Ranker | None:
        if settings.ranker not in self.rankers:
            self.rankers[settings.ranker] = open_ranker(settings, self._metrics)
        return self.rankers[settings.ranker]

    def _open_summarizer(self, settings: Settings) -> None:
        """For the gateway's health: only workers ask it."""
        if settings.summarizer not in self.summarizers:
            summarizer = self.summarizers[settings.summarizer] = open_summarizer(settings)
            if summarizer is not None:
                self._metrics.watch_engine(summarizer, "summarizer", "generate")

    def _ingest(self, settings: Settings, pictures: PictureStore) -> PictureIngest:
        return PictureIngest(settings.pictures, self._decoder, pictures, self._metrics)
