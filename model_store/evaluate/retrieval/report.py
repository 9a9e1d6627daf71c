"""The files of an evaluation of retrieval: `report.json` and `report.md`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from model_store.evaluate.metrics import Interval
from model_store.evaluate.results import DataFacts
from model_store.evaluate.retrieval.run import (
    ALL_STAGES,
    NDCG_AT,
    RECALL_AT,
    RetrievalPlan,
    RetrievalResults,
    RetrievalTable,
)

KINDS = {
    "warm": "the last liked item that training knows",
    "cold": "the last liked item of those hidden from training",
}


def report_files(found: RetrievalResults, plan: RetrievalPlan, data: DataFacts, command: str) -> Mapping[str, bytes]:
    """The content of each file."""
    fields = {
        "command": command,
        "data": data.model_dump(mode="json"),
        "protocol": asdict(plan.protocol),
        "reference": plan.reference,
        "shares": {f"{ALL_STAGES}{added}": asdict(shares) for added, shares in plan.shares.items()},
        **asdict(found),
    }
    text = "\n".join(_page(found, plan, data, command)) + "\n"
    return {"report.json": (json.dumps(fields, indent=2) + "\n").encode(), "report.md": text.encode()}


def table_rows(table: RetrievalTable) -> list[tuple[str, ...]]:
    """The cells of each method, in percent, under `headings`."""
    return [
        (
            row.method,
            *(cell(row.recall[k]) for k in RECALL_AT),
            *(cell(row.ndcg[k]) for k in NDCG_AT),
            cell(row.difference, "+") if row.difference else "",
        )
        for row in table.rows
    ]


def headings(reference: str) -> tuple[str, ...]:
    """The headings of `table_rows`."""
    measured = (*(f"recall@{k}" for k in RECALL_AT), *(f"NDCG@{k}" for k in NDCG_AT))
    return ("method", *measured, f"recall@{max(RECALL_AT)} minus {reference}")


def title(table: RetrievalTable) -> str:
    """What the cases of a table ask for."""
    return f"{table.kind}: {KINDS[table.kind]}, {table.cases:,} users"


def cell(interval: Interval, sign: str = "") -> str:
    """A mean and its interval in percent."""
    mean, low, high = (f"{100 * value:{sign}.1f}" for value in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def _page(found: RetrievalResults, plan: RetrievalPlan, data: DataFacts, command: str) -> Iterator[str]:
    drawn = plan.protocol
    yield f"# Retrieval on {data.name}"
    yield ""
    yield f"    {command}"
    yield ""
    yield (
        f"{found.items:,} items, of which {found.hidden:,} are hidden from all training (seed {drawn.seed}, "
        f"share {drawn.cold_share:g}). Users of the {drawn.split} split, histories of up to {drawn.history} events, "
        "ranked among all items that the user had not seen. Percent, with 95 % bootstrap intervals over users."
    )
    for table in found.tables:
        yield from ("", f"## {title(table)}", "")
        names = headings(plan.reference)
        yield f"| {' | '.join(names)} |"
        yield f"| --- |{' ---: |' * (len(names) - 1)}"
        yield from (f"| {' | '.join(row)} |" for row in table_rows(table))
