"""Fits a new version's blend on validation users, whom training has not seen."""

import random
from dataclasses import dataclass
from itertools import accumulate

from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import Dataset
from model_store.evaluate.blend import BlendCases, fit_blend
from model_store.evaluate.protocol import EvaluationCase
from model_store.msr.scratch.scoring import Examiner, Tick
from model_store.registry.manifest import Blend


@dataclass(frozen=True, slots=True)
class Validation:
    """The fitted blend and, for the manifest, AUC on the validation users of each score alone and of the blend."""

    blend: Blend
    auc: dict[str, float]


def validate(
    examiner: Examiner, dataset: Dataset, cooccurrence: Cooccurrence, seed: int, tick: Tick
) -> Validation | None:
    """Score validation cases with the model's own summaries and fit the blend; None if there are no cases."""
    cases = validation_cases(dataset, cooccurrence, seed)
    if not cases:
        return None
    found = BlendCases.of(
        examiner.score(cases, examiner.summaries(cases, tick)),
        [cooccurrence.collaborative(case.recents[-20:], case.candidates) for case in cases],
        [[cooccurrence.counts.get(candidate, 0) for candidate in case.candidates] for case in cases],
        [case.target_position for case in cases],
    )
    blend = fit_blend(found)
    weights = {
        "mllm": (1, 0, 0),
        "collaborative": (0, 1, 0),
        "popular": (0, 0, 1),
        "blend": (blend.mllm, blend.collaborative, blend.popular),
    }
    return Validation(blend, {name: round(100 * found.auc(row), 2) for name, row in weights.items()})


def validation_cases(
    dataset: Dataset, cooccurrence: Cooccurrence, seed: int, *, most: int = 600, per_user: int = 5, history: int = 50
) -> list[EvaluationCase]:
    """Several liked items of each validation user, each among 20 negatives drawn by popularity."""
    rng = random.Random(f"validation {seed}")
    users = dataset.users("validation")
    rng.shuffle(users)
    weights = list(accumulate(cooccurrence.counts.values()))
    items = list(cooccurrence.counts)
    cases: list[EvaluationCase] = []
    for user in users:
        events = dataset.histories[user]
        met = {event.item_id for event in events}
        liked = [n for n, event in enumerate(events) if n > 0 and event.liked and event.item_id in dataset.items]
        for place in sorted(rng.sample(liked, min(per_user, len(liked)))):
            drawn = dict.fromkeys(item for item in rng.choices(items, cum_weights=weights, k=200) if item not in met)
            if not drawn:
                continue
            candidates = [events[place].item_id, *list(drawn)[:20]]
            rng.shuffle(candidates)
            past = events[max(0, place - history) : place]
            cases.append(EvaluationCase(user, past, events[place].item_id, tuple(candidates)))
        if len(cases) >= most:
            break
    return cases[:most]
