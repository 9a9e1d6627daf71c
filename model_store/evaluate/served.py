"""The service's order of candidates: the blend of a version, with the counts that the version was registered with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from model_store.blend import among, blend, blend_features, logit, sigmoid
from model_store.cooccurrence import Cooccurrence, read_cooccurrence
from model_store.data.dataset import Interaction
from model_store.evaluate.protocol import EvaluationCase
from model_store.item_models.item_models import ItemModels
from model_store.registry.manifest import Blend, Manifest
from model_store.registry.registry import Registry

RECENTS = 20
"""Recent events that the service keeps per user by default."""


def near(history: Sequence[Interaction]) -> list[str]:
    """The items with which the service computes collaborative scores: distinct, not disliked, oldest first."""
    return list(dict.fromkeys(event.item_id for event in history[-RECENTS:] if not event.disliked))


@dataclass(frozen=True, slots=True)
class ServedBlend:
    """The weights of a version and what other users did."""

    weights: Blend
    cooccurrence: Cooccurrence
    item_models: ItemModels

    @classmethod
    def of(cls, manifest: Manifest, registry: Registry) -> "ServedBlend":
        path = registry.cooccurrence(manifest)
        counts = read_cooccurrence(path) if path else Cooccurrence({}, {})
        return cls(manifest.blend, counts, registry.item_models(manifest))

    def collaborative(self, case: EvaluationCase) -> list[float]:
        """The collaborative score of each candidate, which the service has without asking a model."""
        return self.cooccurrence.collaborative(near(case.history), case.candidates)

    def probabilities(self, case: EvaluationCase, scores: Sequence[float | None]) -> list[float]:
        """The service's answer, 0..1, from the ranker's p(yes), of which a missing one counts as log-odds 0."""
        popular = [float(self.cooccurrence.counts.get(item, 0)) for item in case.candidates]
        weights = among(self.weights, popular)
        near_by = self.item_models.score(near(case.history), case.candidates)
        return [
            sigmoid(blend(weights, blend_features(0.0 if p is None else logit(p), together, likes, one)))
            for p, together, likes, one in zip(scores, self.collaborative(case), popular, near_by, strict=True)
        ]

    def without(self, *parts: str) -> "ServedBlend":
        """The same with the weights of some features at 0. The order of candidates does not need the bias again."""
        return replace(self, weights=self.weights.model_copy(update=dict.fromkeys(parts, 0.0)))
