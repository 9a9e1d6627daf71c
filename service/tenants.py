"""What each tenant has of its own in a gateway, and what it shares with the others."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from model_store.engine.engine import Engine
from model_store.signals import Signals
from service.engines import open_summarizer
from service.events.ingest import EventIngest
from service.events.unknown_items import UnknownItems
from service.http.pressure import Pressure
from service.http.tenants import PerTenant
from service.index.current import Vectors, no_index
from service.index.follower import Follower as MemoryFollower
from service.index.polling import IndexFollower
from service.index.qdrant import open_qdrant_of
from service.index.searcher import Searcher
from service.index.shared import SharedFollower
from service.items.catalogue import Catalogue
from service.items.endpoints import Shelf
from service.metrics import Metrics
from service.pictures.decoder import PictureDecoder
from service.pictures.ingest import PictureIngest
from service.pictures.store import PictureStore, open_pictures
from service.pictures.tokens import open_tokens
from service.recommend.follow import Follower, follows
from service.recommend.pipeline import Recommender
from service.recommend.ranker import Ranker, open_ranker
from service.recommend.retrieval.popular_genres import PopularGenres
from service.recommend.rollout import Rollout
from service.recommend.shadow import Shadow
from service.recommend.shown import ShownWriter
from service.recommend.sight import Sight
from service.recommend.token_requests import TokenRequests
from service.settings import Settings
from service.settings.engines import EngineSettings, RankerSettings
from service.state.store import Store


@dataclass(frozen=True, slots=True)
class Tenant:
    """The parts of a gateway that read and write what one tenant has."""

    store: Store
    ingest: EventIngest
    unknown_items: UnknownItems
    recommender: Recommender
    shown: ShownWriter
    catalogue: Catalogue
    shelf: Shelf


class Tenants:
    """The tenants of the settings. They share the connections to Redis, the processes that decode pictures, and the
    model servers that they have in common.

    Args:
        store, ranker: replace those of the settings, and are closed with the others.

    Raises:
        UserError: the settings name a Qdrant server and the extra is not installed.

    Attributes:
        store: that of `default`.
        named: by name, `default` first.
        rollouts: for each choice of a ranker, which versions rank.
        summarizers: each model server once, None for tenants that have none.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        pressure: Pressure,
        store: Store | None = None,
        ranker: Ranker | None = None,
    ) -> None:
        self._metrics = metrics
        self.store = store or Store(settings)
        self._pictures, self._tokens = open_pictures(settings), open_tokens(settings)
        self._token_requests: list[TokenRequests] = []
        self._populars: list[PopularGenres] = []
        self._searcher, self._indexes = Searcher(metrics), list[IndexFollower]()
        self._qdrant = open_qdrant_of(settings.embedder)
        self._tasks: list[asyncio.Task[None]] = []
        self._decoder = PictureDecoder(settings.pictures, metrics)
        self.rollouts: dict[RankerSettings, Rollout] = {}
        self._shadow = Shadow(settings.recommend, pressure, metrics)
        self._followers: list[Follower] = []
        self._fixed: list[Ranker] = []
        if ranker is not None:
            self._fixed.append(ranker)
            self.rollouts[settings.ranker] = Rollout(ranker, ranker.signals)
        self.summarizers: dict[EngineSettings, Engine | None] = {}
        self.named = {name: self._tenant(name, settings.of_tenant(name)) for name in settings.tenant_names}

    def chosen(self, *, keys: bool) -> PerTenant[Tenant]:
        """Chooses the tenant of a request; `keys`: by its API key."""
        return PerTenant(self.named, keys=keys)

    @property
    def rankers(self) -> list[Rollout | None]:
        """Each choice of a ranker once, None for tenants that have none."""
        return [rollout if rollout.lineup.production else None for rollout in self.rollouts.values()]

    async def start(self) -> None:
        """Follow promotions in the model store, the vectors of items, and what is popular."""
        await asyncio.gather(*(index.start() for index in self._indexes))
        self._tasks += [asyncio.create_task(popular.run()) for popular in self._populars]
        await asyncio.gather(*(follower.start() for follower in self._followers))

    async def close(self) -> None:
        """Close everything, also what the tenants share."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with AsyncExitStack() as stack:
            if self._qdrant is not None:
                stack.callback(self._qdrant.close)
            for requests in self._token_requests:
                stack.push_async_callback(requests.close)
            shared = (
                self.store,
                self._decoder,
                self._shadow,
                self._searcher,
                *self._indexes,
                *self._followers,
                *self._fixed,
                *self.summarizers.values(),
            )
            for opened in (
                *shared,
                *(one for tenant in self.named.values() for one in (tenant.unknown_items, tenant.shown)),
            ):
                if opened is not None:
                    stack.push_async_callback(opened.close)

    def _tenant(self, name: str, settings: Settings) -> Tenant:
        metrics, store = self._metrics, self.store.of(name)
        rollout = self._rollout(settings)
        self._open_summarizer(settings)
        pictures = self._pictures.of(settings.pictures_url)
        sight = self._sight(settings, store, pictures)
        shown = ShownWriter(store.shown_log, metrics)
        unknown_items = UnknownItems(store.items, metrics.unknown_items)
        vectors = self._vectors(settings, store, name)
        popular = PopularGenres(store)
        self._populars.append(popular)
        given = settings.recommend
        recommender = Recommender(
            store, sight, rollout, self._shadow, shown, given, metrics, name, vectors=vectors, popular=popular
        )
        return Tenant(
            store=store,
            ingest=EventIngest(store.events, unknown_items, rollout, metrics, name),
            unknown_items=unknown_items,
            recommender=recommender,
            shown=shown,
            catalogue=Catalogue(store.items, self._ingest(settings, pictures), metrics),
            shelf=Shelf(store, vectors, given.similar_pivot, given.duplicate_cosine),
        )

    def _vectors(self, settings: Settings, store: Store, tenant: str) -> Vectors:
        """The vectors of a tenant's items; none without an embedder."""
        if not settings.embedder.url:
            return Vectors(no_index, self._searcher)
        folder = settings.data_dir / "index" / tenant
        every_s, metrics = settings.embedder.poll_s, self._metrics
        index: IndexFollower
        if self._qdrant is None:
            index = MemoryFollower(store.embeddings, folder, every_s, metrics, tenant)
        else:
            index = SharedFollower(store.mirrors, self._qdrant, every_s, metrics, tenant)
        self._indexes.append(index)
        return Vectors(index.current, self._searcher)

    def _rollout(self, settings: Settings) -> Rollout:
        if settings.ranker not in self.rollouts:
            ranker = open_ranker(settings, self._metrics)
            rollout = self.rollouts[settings.ranker] = Rollout(ranker, Signals(settings.signals.vocabulary()))
            if ranker is not None and follows(settings.ranker):
                self._followers.append(Follower(settings, rollout, ranker, self._metrics))
            elif ranker is not None:
                self._fixed.append(ranker)
        return self.rollouts[settings.ranker]

    def _open_summarizer(self, settings: Settings) -> None:
        """For the gateway's health: only workers ask it."""
        if settings.summarizer not in self.summarizers:
            summarizer = self.summarizers[settings.summarizer] = open_summarizer(settings)
            if summarizer is not None:
                self._metrics.watch_engine(summarizer, "summarizer", "generate")

    def _sight(self, settings: Settings, store: Store, pictures: PictureStore) -> Sight:
        requests = None
        if store.encodings is not None:
            requests = TokenRequests(store.encodings)
            self._token_requests.append(requests)
        return Sight(pictures, self._tokens.of(settings.picture_tokens_url), requests, self._metrics)

    def _ingest(self, settings: Settings, pictures: PictureStore) -> PictureIngest:
        return PictureIngest(settings.pictures, self._decoder, pictures, self._metrics)
