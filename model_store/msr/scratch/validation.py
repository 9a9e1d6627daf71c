"""Fits a new version's blend on validation users, who are not used in training."""

import random
from itertools import accumulate

from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import Dataset
from model_store.evaluate.blend import BlendCases, fit_blend
from model_store.evaluate.protocol import EvaluationCase
from model_store.msr.scratch.scoring import OfflineScorer
from model_store.progress import Report
from model_store.registry.manifest import Blend

_CASES, _PER_USER, _HISTORY, _RECENTS, _NEGATIVES = 600, 5, 50, 20, 20


def validate(
    scorer: OfflineScorer, dataset: Dataset, cooccurrence: Cooccurrence, seed: int, progress: Report
) -> tuple[Blend, dict[str, float]]:
    """Score validation cases with the model's summaries and fit the blend.

    Returns:
        The blend and, in percent, the AUC of each score alone and of the blend; the default blend and {} without cases.
    """
    cases = validation_cases(dataset, cooccurrence, seed)
    if not cases:
        return Blend(), {}
    found = BlendCases.of(
        scorer.score(cases, scorer.summaries(cases, lambda done: progress("validating", done, ""))),
        [cooccurrence.collaborative(case.recents[-_RECENTS:], case.candidates) for case in cases],
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
    return blend, {name: round(100 * found.auc(row), 2) for name, row in weights.items()}


def validation_cases(dataset: Dataset, cooccurrence: Cooccurrence, seed: int) -> list[EvaluationCase]:
    """Several liked items of each validation user, each among negatives drawn by popularity."""
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
        for place in sorted(rng.sample(liked, min(_PER_USER, len(liked)))):
            drawn = dict.fromkeys(item for item in rng.choices(items, cum_weights=weights, k=200) if item not in met)
            if not drawn:
                continue
            candidates = [events[place].item_id, *list(drawn)[:_NEGATIVES]]
            rng.shuffle(candidates)
            past = events[max(0, place - _HISTORY) : place]
            cases.append(EvaluationCase(user, past, events[place].item_id, tuple(candidates)))
        if len(cases) >= _CASES:
            break
    return cases[:_CASES]
