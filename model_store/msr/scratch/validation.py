"""Fits a new version's blend on validation users, who are not used in training."""

from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import Dataset
from model_store.evaluate.blend import blend_auc, fit_blend
from model_store.evaluate.blend_cases import make_boards, mixed_cases
from model_store.item_models.item_models import ItemModels
from model_store.msr.scratch.scoring import CaseScorer
from model_store.progress import Report
from model_store.registry.manifest import Blend


def validate(
    scorer: CaseScorer,
    dataset: Dataset,
    cooccurrence: Cooccurrence,
    item_models: ItemModels,
    seed: int,
    progress: Report,
    count: int = 600,
) -> tuple[Blend, dict[str, dict[str, float]]]:
    """Score `count` validation cases with the model's summaries and fit the blend.

    Returns:
        The blend and its `blend_auc`; the default blend and {} without cases.
    """
    cases = mixed_cases(dataset, cooccurrence, seed, count=count)
    if not cases:
        return Blend(), {}
    plain = [mixed.case for mixed in cases]
    summaries = scorer.summaries(plain, lambda done: progress("validating: summaries", done, ""))
    scores = scorer.score(plain, summaries, progress=lambda done: progress("validating: scores", done, ""))
    boards = make_boards(cases, cooccurrence, item_models, scores)
    blend = fit_blend(boards)
    return blend, blend_auc(blend, boards)
