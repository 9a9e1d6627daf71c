"""The report of a replay: rich tables for the terminal, Markdown for documents."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from model_store.evaluate.compare import Difference, K, Row, Table
from model_store.evaluate.metrics import Interval, Latency
from model_store.evaluate.protocol import Protocol

_HEADINGS = ("method", "AUC", f"HR@{K}", f"NDCG@{K}", f"MRR@{K}")


@dataclass(frozen=True, slots=True)
class Folding:
    """How fast events became summaries, from the first event posted to the last one folded.

    Attributes:
        summaries: summary versions that were written.
        without_summary: users who have no summary in the end.
    """

    events: int
    summaries: int
    seconds: float
    without_summary: int


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay measured.

    Attributes:
        degraded: answers without the model's scores, by reason. There should be none.
        undescribed: pictures without a description, which the prompts lacked.
    """

    data: str
    protocol: Protocol
    models: tuple[str, ...]
    table: Table
    differences: tuple[Difference, ...]
    degraded: Mapping[str, int]
    folding: Folding
    event_latency: Latency
    recommend_latency: Latency
    undescribed: int

    @property
    def degraded_share(self) -> float:
        return sum(self.degraded.values()) / self.table.cases


def replay_to_rich(report: ReplayReport) -> RenderableType:
    """The whole report for a terminal, warnings first."""
    table = RichTable(*_HEADINGS, title=escape(_title(report)), box=box.SIMPLE, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for method, row in report.table.rows.items():
        table.add_row(escape(method), *_cells(row))
    warnings = [Text(warning, style="bold red") for warning in _warnings(report)]
    return Group(*warnings, table, *(Text(fact) for fact in _facts(report)))


def replay_to_markdown(report: ReplayReport) -> str:
    """The whole report for a document."""
    methods = ((method, *_cells(row)) for method, row in report.table.rows.items())
    rows = (_HEADINGS, ("---", *["---:"] * 4), *methods)
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    facts = "".join(f"- {fact}\n" for fact in _facts(report))
    return "\n".join([f"{_title(report)}\n", *(f"**{warning}**\n" for warning in _warnings(report)), table, facts])


def _cells(row: Row) -> Iterator[str]:
    return (percent(interval) for interval in (row.auc, row.hit_rate, row.ndcg, row.mrr))


def percent(interval: Interval) -> str:
    """A mean and its interval in percent."""
    return f"{100 * interval.mean:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _title(report: ReplayReport) -> str:
    models = ", ".join(report.models) or "no model"
    return f"{report.data}: {report.table.cases} users, {report.protocol}; {models}"


def _warnings(report: ReplayReport) -> Iterator[str]:
    if report.degraded:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(report.degraded.items()))
        yield (
            f"WARNING: {100 * report.degraded_share:.1f} % of the answers were degraded ({reasons}); "
            "the figures do not measure the model."
        )
    if report.folding.without_summary:
        yield f"WARNING: {report.folding.without_summary} users have no summary: see the dead letters."
    if report.undescribed:
        yield f"WARNING: {report.undescribed} pictures were not described, and prompts lacked their descriptions."


def _facts(report: ReplayReport) -> Iterator[str]:
    for gap in report.differences:
        mean, low, high = (100 * value for value in (gap.auc.mean, gap.auc.low, gap.auc.high))
        yield f"AUC of {gap.method} minus {gap.baseline}: {mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    yield show_folding(report.folding)
    yield f"POST /events: {show_latency(report.event_latency)}"
    yield f"POST /recommend: {show_latency(report.recommend_latency)}"
    yield f"degraded answers: {100 * report.degraded_share:.1f} %"


def show_folding(folding: Folding) -> str:
    """How fast events were folded."""
    rates = f"{folding.events / folding.seconds:.1f} events/s, {folding.summaries / folding.seconds:.1f} summaries/s"
    return f"folding: {folding.events} events in {folding.seconds:.1f} s, {rates}"


def show_latency(latency: Latency) -> str:
    """The percentiles of a latency."""
    return f"p50 {latency.p50:.0f} ms, p95 {latency.p95:.0f} ms, p99 {latency.p99:.0f} ms ({latency.calls} calls)"
