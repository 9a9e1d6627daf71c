"""Reports of comparisons and replays: rich tables for the terminal, Markdown for documents."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from model_store.evaluate.compare import Difference, Row, Table
from model_store.evaluate.metrics import Interval, Latency
from service.client.outcome import ReplayReport


def table_to_rich(table: Table, title: str | None = None) -> RichTable:
    """The comparison, in percent with 95 % intervals."""
    rendered = RichTable(*_headings(table.k), title=title and escape(title), box=box.SIMPLE, title_justify="left")
    for column in rendered.columns[1:]:
        column.justify = "right"
    for row in table.rows:
        rendered.add_row(escape(row.method), *_cells(row))
    return rendered


def table_to_markdown(table: Table) -> str:
    """The comparison as a Markdown table, in percent with 95 % intervals."""
    lines = ["| " + " | ".join(_headings(table.k)) + " |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += ["| " + " | ".join((row.method, *_cells(row))) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def replay_to_rich(report: ReplayReport) -> RenderableType:
    """The whole report for a terminal, warnings first."""
    warnings = [Text(warning, style="bold red") for warning in _warnings(report)]
    facts = [Text(fact) for fact in _facts(report)]
    return Group(*warnings, table_to_rich(report.table, _title(report)), *facts)


def replay_to_markdown(report: ReplayReport) -> str:
    """The whole report for a document."""
    parts = [f"{_title(report)}\n", *(f"**{warning}**\n" for warning in _warnings(report))]
    parts += [table_to_markdown(report.table), "\n".join(f"- {fact}" for fact in _facts(report)) + "\n"]
    return "\n".join(parts)


def _headings(k: int) -> tuple[str, ...]:
    return "method", "AUC", f"HR@{k}", f"NDCG@{k}", f"MRR@{k}"


def _cells(row: Row) -> Iterator[str]:
    return (_interval(interval) for interval in (row.auc, row.hit_rate, row.ndcg, row.mrr))


def _interval(interval: Interval) -> str:
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
        yield _difference(gap)
    folding = report.folding
    yield (
        f"folding: {folding.events} events in {folding.seconds:.1f} s, {folding.events_per_s:.1f} events/s, "
        f"{folding.folds_per_s:.1f} summaries/s"
    )
    yield f"POST /events: {_latency(report.event_latency)}"
    yield f"POST /recommend: {_latency(report.recommend_latency)}"
    yield f"degraded answers: {100 * report.degraded_share:.1f} %"


def _difference(gap: Difference) -> str:
    low, high = 100 * gap.auc.low, 100 * gap.auc.high
    return f"AUC of {gap.method} minus {gap.baseline}: {100 * gap.auc.mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _latency(latency: Latency) -> str:
    return f"p50 {latency.p50:.0f} ms, p95 {latency.p95:.0f} ms, p99 {latency.p99:.0f} ms ({latency.calls} calls)"
