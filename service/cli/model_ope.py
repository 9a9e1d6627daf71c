"""`tastestream models ope`: what each policy earned, and what another blend would have, from logged answers."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_store.blend import FEATURES, Features, among, blend_features, logit
from model_store.item_models.item_models import ItemScores
from model_store.registry.manifest import Blend, Manifest
from model_store.registry.registry import Registry
from service.cli.answer_log import Answer, LogError, Row, explored, read_log
from service.cli.model_store import store_of
from service.cli.options import MAX_SEED, ModelStore
from service.cli.terminal import print_table, say
from service.recommend.blend import Factors, blended, lacking
from service.recommend.exploration import log_odds, propensities

if TYPE_CHECKING:
    from model_store.evaluate.off_policy import Estimate

_SHOWN, _MOST_ODDS = 5, 700.0
_HEADINGS = ("answers", "positive items per answer", "95 % interval", "effective answers")


def ope(
    log: Annotated[Path, typer.Argument(help="What `recommendations export` wrote.")],
    blend: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="Estimate what the blend of this version would have earned.", show_default=False
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of the order that is evaluated.", min=0.01, max=10)] = 0.1,
    places: Annotated[int, typer.Option(help="Places of the list that count.", min=1, max=100)] = 3,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.", min=0, max=MAX_SEED)] = 0,
    store: ModelStore = None,
) -> None:
    """Compare policies by what users made of logged answers, with bootstrap intervals over users.

    Without options, each version and policy by what it showed, weighted by the logged share of its users (SNIPS). With
    --blend, what another blend of the same logged scores would have earned by reordering the same items, in all places
    (SNIPS) and in the first one with a model of the rewards (doubly robust). Both are estimates from answers that were
    logged with `TASTESTREAM_RECOMMEND__EXPLORATION_TEMPERATURE`, to requests without `diversity`.

    Example:

        tastestream models ope shown.jsonl --blend shop-ranker@4
    """
    answers = read_log(log)
    groups: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.model or "no model", answer.policy].append(answer)
    rows = [(f"{model}, {policy}", _shown(group, places, seed)) for (model, policy), group in sorted(groups.items())]
    if blend is not None:
        registry = store_of(blend, store)
        manifest = registry.get(blend)
        scored = _scored_by(registry, manifest, answers)
        by_score = _by_score(scored)
        drawn = explored(by_score)
        if left := len(answers) - len(drawn):
            dated = sum(answer.diversity is None for answer in scored)
            say(
                f"{left:,} answers say nothing about another blend: {len(answers) - len(scored):,} were not scored by "
                f"the weights of {manifest.id}, {len(scored) - len(by_score) - dated:,} were made diverse, {dated:,} "
                f"don't say whether they were, {len(by_score) - len(drawn):,} were not shuffled"
            )
        reordered = _reordered(drawn, manifest.blend, temperature, places, seed)
        first = _first_place(drawn, manifest.blend, temperature, seed)
        rows += [(f"blend of {manifest.id}", reordered), (f"blend of {manifest.id}, first place, doubly robust", first)]
    print_table(((name, *_cells(estimate)) for name, estimate in rows), "", *_HEADINGS)
    for name, estimate in rows:
        if estimate.is_weak:
            say(f"warning: {name}: the log says as much as {estimate.effective:.0f} answers, too few to conclude from")


def _scored_by(registry: Registry, manifest: Manifest, answers: Sequence[Answer]) -> list[Answer]:
    """The answers with scores of the weights and the prompts of this version.

    Raises:
        LogError: there is none.
    """
    asked = (manifest.weights_sha256, manifest.prompts_sha256)
    same = {one.id for one in registry.list() if (one.weights_sha256, one.prompts_sha256) == asked}
    found = [answer for answer in answers if answer.model in same]
    if not found:
        shown = ", ".join(sorted({answer.model or "no model" for answer in answers})[:_SHOWN])
        raise LogError(f"the log has answers of {shown}, and none with scores of the weights of {manifest.id}")
    return found


def _by_score(answers: Sequence[Answer]) -> list[Answer]:
    """The answers that a version orders by its scores alone.

    Another blend would have made a diverse answer diverse in another way, by likenesses of items that are not logged.

    Raises:
        LogError: there is none.
    """
    found = [answer for answer in answers if answer.diversity == 0]
    if not found:
        raise LogError(
            "the log has only answers that were made diverse, or that don't say whether they were, so the order of "
            "another blend is unknown: log anew, with requests without `diversity`"
        )
    return found


def _shown(answers: Sequence[Answer], places: int, seed: int) -> "Estimate":
    """What the answers of one policy earned, each weighted by 1 / the share of the users at its time."""
    import numpy as np

    from model_store.evaluate.off_policy import snips, with_interval

    weight = np.array([1 / answer.propensity for answer in answers])
    reward = np.array([sum(row.outcome == "positive" for row in answer.rows[:places]) for answer in answers])
    users = [answer.user for answer in answers]
    return with_interval(snips, weight, reward.astype(np.float64), users=users, seed=seed)


def _reordered(answers: Sequence[Answer], weights: Blend, temperature: float, places: int, seed: int) -> "Estimate":
    """What the blend would have earned with the same items in an order of its own."""
    import numpy as np

    from model_store.evaluate.off_policy import list_snips, list_weights, with_interval

    shape = (len(answers), places)
    # A list that is shorter has nothing to earn further down.
    logged, target, reward = np.ones(shape), np.ones(shape), np.zeros(shape)
    for number, answer in enumerate(answers):
        rows, chances = answer.rows[:places], propensities(_odds(answer, weights, temperature))
        logged[number, : len(rows)] = [row.propensity for row in rows]
        target[number, : len(rows)] = chances[: len(rows)]
        reward[number, : len(rows)] = [row.outcome == "positive" for row in rows]
    users = [answer.user for answer in answers]
    return with_interval(list_snips, list_weights(logged, target), reward, users=users, seed=seed)


def _first_place(answers: Sequence[Answer], weights: Blend, temperature: float, seed: int) -> "Estimate":
    """What the blend would have earned in the first place alone, doubly robust: the features predict the reward."""
    import numpy as np

    from model_store.evaluate import off_policy

    longest = max(len(answer.rows) for answer in answers)
    actions, target = np.zeros((len(answers), longest, len(FEATURES))), np.zeros((len(answers), longest))
    for number, answer in enumerate(answers):
        odds = _odds(answer, weights, temperature)
        actions[number, : len(odds)] = [_inputs(row.features) for row in answer.rows]
        target[number, : len(odds)] = np.exp(odds - np.logaddexp.reduce(odds))
    chosen = np.array([answer.rows[0].propensity for answer in answers])
    reward = np.array([answer.rows[0].outcome == "positive" for answer in answers], dtype=np.float64)
    users = [answer.user for answer in answers]
    predicted, expected = off_policy.predicted_rewards(actions[:, 0], actions, target, reward, users)
    weight = off_policy.weights(chosen, target[:, 0])
    return off_policy.with_interval(
        off_policy.doubly_robust, weight, reward, predicted, expected, users=users, seed=seed
    )


def _odds(answer: Answer, weights: Blend, temperature: float) -> list[float]:
    """The blended log-odds of each logged place, divided by the temperature: of the blend's own Plackett-Luce order.

    A discount of popularity is that of the shown items: the log does not have the other candidates.
    """
    rows = answer.rows
    mllm, collaborative, popular = (_feature(rows, name) for name in ("mllm", "collaborative", "popular"))
    near = {row.item_id: ItemScores.of(row.features) for row in rows}
    ids = [row.item_id for row in rows]
    weights = among(weights, [popular.get(item, 0.0) for item in ids])
    factors = {row.item_id: _factors(row.features, weights, answer.typical) for row in rows}
    found = blended(ids, mllm, collaborative, popular, near, weights, factors)
    scored = {one.item_id: one.score for one in found}
    return [log_odds(scored[item]) / temperature for item in ids]


def _factors(features: Mapping[str, float | None], weights: Blend, typical: Mapping[str, float]) -> Factors:
    """What the odds are multiplied by: for the request, as logged, and for an item that few users met.

    The items that the logging version raised to the typical evidence are raised to what that is for these weights.
    """
    boost, rotation = features.get("boost") or 1.0, features.get("rotation") or 1.0
    if features.get("unmet"):
        mean = Features(**{name: typical.get(name, 0.0) for name in FEATURES})
        lacks = lacking(weights, _inputs(features), features.get("popular") or 0.0, mean)
        boost *= math.exp(min(lacks, _MOST_ODDS))
    return Factors(boost, rotation)


def _inputs(features: Mapping[str, float | None]) -> Features:
    """The features as the blend takes them; a missing one counts 0."""
    mllm, together, likes = (features.get(name) for name in ("mllm", "collaborative", "popular"))
    odds = 0.0 if mllm is None else logit(mllm)
    return blend_features(odds, together or 0.0, likes or 0.0, ItemScores.of(features))


def _feature(rows: Sequence[Row], name: str) -> dict[str, float]:
    return {row.item_id: value for row in rows if (value := row.features.get(name)) is not None}


def _cells(estimate: "Estimate") -> tuple[str, ...]:
    interval = f"{estimate.low:.4f} .. {estimate.high:.4f}"
    return f"{estimate.rows:,}", f"{estimate.value:.4f}", interval, f"{estimate.effective:,.0f}"
