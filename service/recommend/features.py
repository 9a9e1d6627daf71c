"""The features of candidates that come from other users' behaviour, read together with the items."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from service.metrics import Metrics
from service.recommend.optional import optional
from service.state.cooccurrence import CooccurrenceCounts, Counts, Together, cosines
from service.state.reads import Answer, Wave


@dataclass(slots=True)
class FeatureReader:
    """Collaborative scores with respect to the items `near`, and popularity; what can't be read is left out."""

    cooccurrence: CooccurrenceCounts
    near: Sequence[str]
    metrics: Metrics
    _asked: set[str] = field(default_factory=set)
    _pairs: list[Answer[Together]] = field(default_factory=list)
    _counts: list[Answer[Counts]] = field(default_factory=list)

    def ask(self, wave: Wave, item_ids: Iterable[str]) -> None:
        """Add the reads of these items' features to the wave, unless they were added before."""
        wanted = [item_id for item_id in item_ids if item_id not in self._asked]
        if not wanted:
            return
        self._pairs.append(wave.add(self.cooccurrence.pairs(self.near, wanted)))
        # The counts of `near` are read once.
        counted = wanted if self._asked else list(dict.fromkeys([*self.near, *wanted]))
        self._counts.append(wave.add(self.cooccurrence.counts(counted)))
        self._asked.update(wanted)

    def read(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Collaborative scores and like counts by item id. All waves must have been sent."""
        counts = Counts({}, frozenset())
        collaborative: Mapping[str, float] = {}
        with optional("popular", self.metrics):
            for counted in self._counts:
                counts |= counted.value()
        with optional("collaborative", self.metrics):
            together = {item: others for pairs in self._pairs for item, others in pairs.value().items()}
            collaborative = cosines(together, counts)
        return collaborative, counts.popular
