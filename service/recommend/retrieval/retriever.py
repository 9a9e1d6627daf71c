"""Read the user and the candidates: those of the caller, or those found for the user."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from model_store.item_models.item_models import ItemModels
from model_store.retrieval.shares import FITTING_AMONG, Shares, places
from model_store.signals import Signals
from service.errors import PageExpired
from service.index.current import Vectors
from service.index.vector_index import VectorIndex
from service.metrics import Metrics
from service.recommend.candidates import Candidate, given_candidates
from service.recommend.deadline import Deadline
from service.recommend.features import FeatureReader
from service.recommend.filters import LeftOut
from service.recommend.optional import value_or
from service.recommend.retrieval.collector import Collector
from service.recommend.retrieval.in_memory import Personal, find_in_memory
from service.recommend.retrieval.listed import ByTerm, Catalogue
from service.recommend.retrieval.popular_genres import PopularGenres, PopularInGenres
from service.recommend.retrieval.stages import PAGE, Cooccurrence, Named, Newest, Popular, Stage
from service.recommend.rules import Rules
from service.recommend.schemas import RecommendIn, Skipped, SkipReason
from service.settings.recommend import RecommendSettings
from service.state.reads import Answer
from service.state.records import Item, UserState
from service.state.scores import Kept
from service.state.store import Store

SAMPLED = 3
"""How many new items are read for each place reserved for them, because some were seen or do not pass the filters."""
SPARE = 10
"""For so many items of an answer, one more candidate is wanted."""
FILTERED_NEAR = 10
"""How many times more items of the index are looked at when filters reject most."""
DEPTH, FILTERED_DEPTH = 10_000, 1_200
"""How far the popularity ranking is read, without and with filters."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The result of the first round trip: the user, the user's cached scores, and what does not depend on the user.

    `given` holds the caller's candidates that the catalogue has, by id; `stages` is empty if the caller gave some.
    `earlier` are the items of earlier pages, `rotating` those of each of the last answers, if they are to give way.
    `index` is what was in use at the beginning: the request keeps it, also if another one takes over meanwhile.
    """

    state: UserState
    scores: Answer[Kept]
    given: Mapping[str, Item]
    stages: Sequence[Stage]
    earlier: Sequence[str] = ()
    rotating: Sequence[Sequence[str]] = ()
    index: VectorIndex | None = None


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Distinct candidates with their features, the items of the user's recents by id, and what was left out.

    `near` are the ids of the recents with which collaborative features are computed.

    When candidates were searched for, `rejected` counts the items that were passed over, and `bounded` says that the
    search ended before it had gone through all items, `vectors_unavailable` that none were found by their vectors.
    """

    candidates: list[Candidate]
    recents: Mapping[str, Item]
    near: Sequence[str]
    collaborative: Mapping[str, float]
    popular: Mapping[str, float]
    skipped: list[Skipped] = field(default_factory=list)
    rejected: Mapping[SkipReason, int] = field(default_factory=dict)
    bounded: bool = False
    vectors_unavailable: bool = False


class Retriever:
    """Reads what a recommendation needs, in few round trips."""

    def __init__(
        self,
        store: Store,
        settings: RecommendSettings,
        metrics: Metrics,
        vectors: Vectors,
        popular: PopularGenres,
    ) -> None:
        self._vectors = vectors
        self._popular = popular
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._shares = Shares(settings.new_items_share, settings.embedding_share, settings.genre_share)

    async def open(self, ask: RecommendIn, rules: Rules) -> Opening:
        """Read the user and everything that can be read in the same round trip.

        Raises:
            PageExpired: the recommendation to be continued is not remembered.
            StateUnavailable: the store can't be read.
        """
        store, wave, index = self._store, self._store.wave(), self._vectors.current()
        state, scores = wave.add(store.users.reading(ask.user_id)), wave.add(store.scores.reading(ask.user_id))
        pages = wave.add(store.pages.reading(ask.user_id, ask.after))
        rotating = wave.add(store.rotation.reading(ask.user_id)) if ask.rotation else None
        given = wave.add(store.items.reading(candidate.item_id for candidate in ask.candidates or ()))
        stages = self._stages(ask, rules, self._searched(index)) if ask.candidates is None else []
        first = [stage for stage in stages if stage.asked_first and not stage.done]
        for stage in first:
            stage.ask(wave)
        await wave.send()
        for stage in first:
            stage.take()
        earlier = pages.value()
        if earlier is None and ask.after is not None:
            raise PageExpired(
                "after: no page of this user's recommendation is remembered; ask again without `after`, with `paged`",
                field="after",
            )
        shown = value_or([], rotating, "rotation", self._metrics) if rotating is not None else []
        return Opening(state.value(), scores, given.value(), stages, earlier or (), shown, index)

    async def retrieve(
        self,
        ask: RecommendIn,
        rules: Rules,
        left_out: LeftOut,
        opening: Opening,
        signals: Signals,
        models: ItemModels,
        shown_recents: int,
        deadline: Deadline,
    ) -> Retrieved:
        """Look up the caller's candidates, or find some, and read their features.

        Args:
            signals: what the types of events mean.
            models: the item models of the version that ranks.
            shown_recents: how many of a user's recents the prompts show.

        Raises:
            StateUnavailable: the store can't be read.
        """
        recents = opening.state.recents
        shown = {event.item_id for event in recents[-shown_recents:]}
        # Distinct, oldest first. Users who only looked at an item resemble those who liked it more than a random user.
        welcome = (event.item_id for event in recents if signals(event.type, event.value) != "negative")
        near = list(dict.fromkeys(welcome))
        features = FeatureReader(self._store.cooccurrence, near, self._metrics)
        if ask.candidates is None:
            avoided = left_out.ids()
            count = min(self._looked_at(ask, rules), self._settings.max_scanned_items)
            index, searcher = self._searched(opening.index), self._vectors.searcher
            new = list(opening.stages[0].ids)
            personal = await find_in_memory(
                index, searcher, models, recents, near, new, signals, count, avoided, deadline
            )
            stages = self._chosen(ask, rules, opening.stages, personal)
            for stage in stages:
                stage.begin(near, avoided)
            found = await self._find(self._collector(ask, rules, left_out, stages), shown, features, deadline)
            return replace(found, vectors_unavailable=personal.vectors_unavailable)
        candidates, skipped = given_candidates(ask.candidates, opening.given)
        wave = self._store.wave()
        items = wave.add(self._store.items.reading(shown))
        features.ask(wave, (candidate.item.item_id for candidate in candidates))
        await wave.send()
        return Retrieved(candidates, items.value(), near, *features.read(), skipped)

    def _searched(self, index: VectorIndex | None) -> VectorIndex | None:
        """The index, unless vectors are switched off in retrieval."""
        return index if self._settings.embedding_share else None

    def _stages(self, ask: RecommendIn, rules: Rules, index: VectorIndex | None) -> list[Stage]:
        """The stages that don't need the user; `_chosen` adds the others, and gives all their shares."""
        store, settings, metrics = self._store, self._settings, self._metrics
        new = places(self._shares.new, self._count(ask))
        # With vectors, those that fit the user best are chosen among many.
        sampled = (SAMPLED if index is None else FITTING_AMONG) * new
        sample = store.new_items.sample(ask.user_id, sampled, settings.new_items_s)
        newest, near = Newest(sample, metrics), Cooccurrence(store.cooccurrence, metrics)
        by_term = ByTerm(store.items, store.cooccurrence, rules.wanted, metrics)
        if not by_term.done:
            return [newest, near, Popular(store.cooccurrence, PAGE, metrics), by_term]
        depth = FILTERED_DEPTH if rules.wanted else DEPTH
        return [newest, near, Popular(store.cooccurrence, depth, metrics), Catalogue(store.items, metrics)]

    def _chosen(self, ask: RecommendIn, rules: Rules, stages: Sequence[Stage], personal: Personal) -> list[Stage]:
        """All stages: those of `stages`, what was found without Redis, and popular items of the user's genres."""
        newest, near, *others = stages
        share = self._shares.of(
            self._looked_at(ask, rules), known=bool(personal.known), embedded=bool(personal.embedded)
        )
        newest.ids = deque(personal.new)
        newest.quota, newest.most = share["new"]
        near.quota, near.most = share["cooccurrence"]
        return [
            newest,
            Named("item_models", personal.known, *share["item_models"]),
            near,
            Named("embedding", personal.embedded, *share["embedding"]),
            PopularInGenres(self._popular, *share["popular_genre"]),
            *others,
        ]

    def _count(self, ask: RecommendIn) -> int:
        """How many candidates are wanted: more than are shown, because some may be nearly equal to others."""
        return max(self._settings.retrieve, ask.k + ask.k // SPARE)

    def _looked_at(self, ask: RecommendIn, rules: Rules) -> int:
        """How many items are looked at to have so many candidates: more if filters reject most of them."""
        return self._count(ask) * (FILTERED_NEAR if rules.wanted else 1)

    def _collector(self, ask: RecommendIn, rules: Rules, left_out: LeftOut, stages: Sequence[Stage]) -> Collector:
        count = self._count(ask)
        return Collector(
            stages,
            count=count,
            # Caps need more items to choose from than are shown.
            enough=count if rules.caps else ask.k,
            left_out=left_out,
            wanted=rules.wanted,
            most=self._settings.max_scanned_items,
        )

    async def _find(
        self, collector: Collector, shown: Collection[str], features: FeatureReader, deadline: Deadline
    ) -> Retrieved:
        """Collect candidates until there are enough, no stage has more, or half of the remaining time is over."""
        until_s = deadline.remaining_s() / 2
        recents: Answer[dict[str, Item]] | None = None
        late = known = False
        while True:
            wave = self._store.wave()
            look = collector.look(late=late)
            stage = None if late else collector.next_stage()
            if stage is not None:
                stage.ask(wave)
            items = wave.add(self._store.items.reading(look))
            if recents is None:
                recents = wave.add(self._store.items.reading(shown))
            # With a filter, most items are rejected: read the features of those that pass.
            features.ask(wave, collector.found if collector.wanted else look)
            if not wave:
                break
            await wave.send()
            collector.take(items.value())
            if stage is not None:
                stage.take()
            if not known:
                known = True
                for one in collector.stages:
                    one.know(recents.value())
            late = deadline.remaining_s() < until_s
        return Retrieved(
            list(collector.found.values()),
            recents.value(),
            features.near,
            *features.read(),
            rejected=collector.rejected,
            bounded=collector.short and (late or collector.at_bound),
        )
