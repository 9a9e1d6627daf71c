"""The candidates' features from other users' behaviour, read together with their items."""

from collections.abc import Iterable, Mapping, Sequence

from service.metrics import Metrics
from service.recommend.optional import optional
from service.state.cooccurrence import Counts, Together, cosines
from service.state.reads import Answer, Wave
from service.state.store import Store


class FeatureReader:
    """Collaborative scores with respect to the items `near`, and popularity; what can't be read is left out."""

    def __init__(self, store: Store, near: Sequence[str], metrics: Metrics) -> None:
        self._store = store
        self._near = near
        self._metrics = metrics
        self._asked: set[str] = set()
        self._pairs: list[Answer[Together]] = []
        self._counts: list[Answer[Counts]] = []

    def ask(self, wave: Wave, item_ids: Iterable[str]) -> None:
        """Add to the wave what is asked about these items, if it was not asked before."""
        wanted = [item_id for item_id in item_ids if item_id not in self._asked]
        if not wanted:
            return
        self._pairs.append(wave.add(self._store.cooccurrence.pairs(self._near, wanted)))
        # What was counted of the near ones is asked once.
        counted = wanted if self._asked else list(dict.fromkeys([*self._near, *wanted]))
        self._counts.append(wave.add(self._store.cooccurrence.counts(counted)))
        self._asked.update(wanted)

    def read(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Collaborative scores and interaction counts by item id, once all waves were sent."""
        counts = Counts({}, frozenset())
        collaborative: Mapping[str, float] = {}
        with optional("popular", self._metrics):
            for counted in self._counts:
                counts |= counted.value()
        with optional("collaborative", self._metrics):
            together = {item: others for pairs in self._pairs for item, others in pairs.value().items()}
            collaborative = cosines(together, counts)
        return collaborative, counts.popular
