"""Fits a new version's blend on validation users, whom training has not seen."""

import random
from dataclasses import dataclass
from itertools import accumulate

from model_store.data.dataset import Dataset
from model_store.evaluate.blend import assess_blend, fit_blend
from model_store.evaluate.evidence import Evidence
from model_store.evaluate.protocol import EvaluationCase
from model_store.msr.scratch.scoring import Examiner, Tick
from model_store.registry.manifest import Blend


@dataclass(frozen=True, slots=True)
class Validation:
    """The fitted blend and, for the manifest, AUC on the validation users of each score alone and of the blend."""

    blend: Blend
    auc: dict[str, float]
    cases: int


def validate(examiner: Examiner, dataset: Dataset, evidence: Evidence, seed: int, tick: Tick) -> Validation | None:
    """Score validation cases with the model's own summaries and fit the blend; None if there are no cases."""
    cases = validation_cases(dataset, evidence, seed)
    if not cases:
        return None
    scores = examiner.score(cases, examiner.summaries(cases, tick))
    mllm = [score for case in scores for score in case]
    collaborative = [c for case in cases for c in evidence.collaborative(case.recents[-20:], case.candidates)]
    popularity = [n for case in cases for n in evidence.popularity(case.candidates)]
    labels = [float(candidate == case.target) for case in cases for candidate in case.candidates]
    groups = [number for number, case in enumerate(cases) for _ in case.candidates]
    blend = fit_blend(mllm, collaborative, popularity, labels, groups)
    kinds = {
        "mllm": Blend(mllm=1.0),
        "collaborative": Blend(mllm=0.0, collaborative=1.0),
        "popular": Blend(mllm=0.0, popular=1.0),
        "blend": blend,
    }
    auc = {
        name: round(100 * assess_blend(kind, mllm, collaborative, popularity, labels, groups).auc, 2)
        for name, kind in kinds.items()
    }
    return Validation(blend, auc, len(cases))


def validation_cases(
    dataset: Dataset, evidence: Evidence, seed: int, *, most: int = 600, per_user: int = 5, history: int = 50
) -> list[EvaluationCase]:
    """Several liked items of each validation user, each among 20 negatives drawn by popularity."""
    rng = random.Random(f"validation {seed}")
    users = dataset.users("validation")
    rng.shuffle(users)
    weights = list(accumulate(evidence.counts.values()))
    items = list(evidence.counts)
    cases: list[EvaluationCase] = []
    for user in users:
        events = dataset.histories[user]
        met = {event.item_id for event in events}
        liked = [n for n, event in enumerate(events) if n > 0 and event.liked and event.item_id in dataset.items]
        for place in sorted(rng.sample(liked, min(per_user, len(liked)))):
            drawn = dict.fromkeys(item for item in rng.choices(items, cum_weights=weights, k=200) if item not in met)
            candidates = [events[place].item_id, *list(drawn)[:20]]
            rng.shuffle(candidates)
            past = events[max(0, place - history) : place]
            cases.append(EvaluationCase(user, past, events[place].item_id, tuple(candidates)))
        if len(cases) >= most:
            break
    return cases[:most]
