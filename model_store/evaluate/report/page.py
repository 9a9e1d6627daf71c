"""The report as one HTML file that needs no network and runs no script."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2

from model_store.evaluate.report import plots
from model_store.evaluate.results import Board, DifferenceResult, Estimate, Evaluation, MethodResult

KINDS = {
    "service": "The service and its parts",
    "part": "The service and its parts",
    "baseline": "Baselines",
    "input": "The same ranker, shown other things",
    "version": "Other versions",
}
_COLOURS = {"service": 0, "part": 0, "baseline": 1, "input": 2, "version": 3}


def page(evaluation: Evaluation) -> str:
    """The whole page. All texts are escaped: names of data and versions may be anything."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"interval": interval, "signed": signed, "share": share}
    template = environment.get_template("page.html.jinja")
    return template.render(
        evaluation=evaluation, boards=[_board(board, len(evaluation.seeds) > 1) for board in evaluation.boards]
    )


def interval(estimate: Estimate) -> str:
    return f"{100 * estimate.low:.1f} .. {100 * estimate.high:.1f}"


def share(value: float) -> str:
    return f"{100 * value:.1f}"


def signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _board(board: Board, is_one_of_many: bool) -> dict[str, Any]:
    """What the template shows of a board, with its plots."""
    calibrated = {method.name: method.calibration for method in board.methods if method.calibration}
    shown = dict(list(calibrated.items())[:4])
    return {
        "board": board,
        "title": f"{board.protocol}, seed {board.seed}" if is_one_of_many else board.protocol,
        "ks": list(board.methods[0].hit_rate),
        "groups": list(_groups(board.methods)),
        "forest": plots.forest([(one.name, one.auc, _COLOURS[one.kind]) for one in board.methods], "AUC per user, %"),
        "differences": _differences(board.differences),
        "calibrated": calibrated,
        "reliability": plots.reliability(shown) if shown else "",
        "strata": list(_strata(board)),
        "ablations": list(_ablations(board)),
    }


def _groups(methods: Sequence[MethodResult]) -> Iterator[tuple[str, list[MethodResult]]]:
    for title in dict.fromkeys(KINDS.values()):
        some = [method for method in methods if KINDS[method.kind] == title]
        if some:
            yield title, some


def _differences(differences: Sequence[DifferenceResult]) -> str:
    rows = [(f"{one.method} − {one.baseline}", one.auc, int(_undecided(one.auc))) for one in differences]
    return plots.forest(rows, "difference of AUC per user, percentage points", zero=0.0) if rows else ""


def _undecided(estimate: Estimate) -> bool:
    return estimate.low <= 0 <= estimate.high


def _strata(board: Board) -> Iterator[dict[str, Any]]:
    for of in dict.fromkeys(stratum.of for stratum in board.strata):
        some = [stratum for stratum in board.strata if stratum.of == of]
        names = list(dict.fromkeys(name for stratum in some for name in stratum.auc))
        yield {"of": of, "rows": some, "methods": names}


def _ablations(board: Board) -> Iterator[dict[str, Any]]:
    for of in dict.fromkeys(ablation.of for ablation in board.ablations):
        some = [ablation for ablation in board.ablations if ablation.of == of]
        rows = [(one.name, one.difference, int(_undecided(one.difference))) for one in some]
        plot = plots.forest(rows, f"change of the AUC of: {of}, percentage points", zero=0.0)
        yield {"of": of, "rows": some, "plot": plot}
