"""The service's order of candidates: the blend of a version, with the counts that the version was registered with."""

from collections.abc import Sequence
from dataclasses import dataclass

from model_store.blend import blend, blend_features, logit, sigmoid
from model_store.cooccurrence import Cooccurrence, read_cooccurrence
from model_store.evaluate.protocol import EvaluationCase
from model_store.registry.manifest import Blend, Manifest
from model_store.registry.registry import Registry

RECENTS = 20
"""Recent events that the service keeps per user by default."""


@dataclass(frozen=True, slots=True)
class ServedBlend:
    """The weights of a version and what other users did."""

    weights: Blend
    cooccurrence: Cooccurrence

    @classmethod
    def of(cls, manifest: Manifest, registry: Registry) -> "ServedBlend":
        path = registry.cooccurrence(manifest)
        return cls(manifest.blend, read_cooccurrence(path) if path else Cooccurrence({}, {}))

    def collaborative(self, case: EvaluationCase) -> list[float]:
        """The collaborative score of each candidate, which the service has without asking a model."""
        return self.cooccurrence.collaborative(case.recents[-RECENTS:], case.candidates)

    def probabilities(self, case: EvaluationCase, scores: Sequence[float | None]) -> list[float]:
        """The service's answer, 0..1, from the ranker's p(yes), of which a missing one counts as log-odds 0."""
        counts = self.cooccurrence.counts
        return [
            sigmoid(blend(self.weights, blend_features(0.0 if p is None else logit(p), near, counts.get(item, 0))))
            for item, p, near in zip(case.candidates, scores, self.collaborative(case), strict=True)
        ]

    def without(self, *parts: str) -> "ServedBlend":
        """The same with the weights of some features at 0. The order of candidates does not need the bias again."""
        return ServedBlend(self.weights.model_copy(update=dict.fromkeys(parts, 0.0)), self.cooccurrence)
