"""The report of a replay without candidates: what was found, by which stage, how fast; for terminal and document."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from model_store.evaluate.metrics import Interval, Latency, confidence, latency
from model_store.evaluate.retrieval.cases import RetrievalCase, RetrievalProtocol
from service.client.report import Folding, percent, show_folding, show_latency

_KINDS = {
    "warm": "the last liked item that is not hidden",
    "cold": "the last liked hidden item, which stands for a new one",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the service.

    Attributes:
        sources: the retrieval stage that found each item, in the order shown, without items that the user had met.
        met: how many items the user had met.
        degraded: why the model did not rank; None if it did.
        seconds: from the request to the answer.
    """

    sources: Mapping[str, str]
    met: int
    model: str | None
    served_by: str
    degraded: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class SizeReport:
    """The answers of at most `size` items.

    Attributes:
        hit_rate: the share of the users whose target was shown, with its interval over users.
        shown, hits: shown items and shown targets by the stage that found them.
        hidden: shown items that are hidden from training.
        met: shown items that the user had met; they are counted nowhere else.
    """

    size: int
    hit_rate: Interval
    shown: Mapping[str, int]
    hits: Mapping[str, int]
    hidden: int
    met: int
    served_by: Mapping[str, int]
    degraded: Mapping[str, int]
    latency: Latency


@dataclass(frozen=True, slots=True)
class KindReport:
    """The cases of one kind, `warm` or `cold`.

    Attributes:
        folding: None if it was not waited for.
        partly_excluded: users who met more items than a request may exclude.
    """

    kind: str
    cases: int
    models: tuple[str, ...]
    sizes: Sequence[SizeReport]
    folding: Folding | None
    partly_excluded: int


@dataclass(frozen=True, slots=True)
class RetrievalReplay:
    """What a replay measured. `undescribed`: pictures without a description, which the prompts lacked."""

    data: str
    protocol: RetrievalProtocol
    items: int
    hidden: int
    kinds: Sequence[KindReport]
    undescribed: int


def kind_report(
    kind: str,
    cases: Sequence[RetrievalCase],
    answers: Sequence[Mapping[int, Answer]],
    hidden: Collection[str],
    folding: Folding | None,
    partly_excluded: int,
) -> KindReport:
    """Count what was shown. `answers` holds those to each case, by how many items were asked for."""
    sizes = [_size_report(size, cases, [given[size] for given in answers], hidden) for size in sorted(answers[0])]
    models = {one.model for given in answers for one in given.values() if one.model}
    return KindReport(kind, len(cases), tuple(sorted(models)), sizes, folding, partly_excluded)


def _size_report(
    size: int, cases: Sequence[RetrievalCase], answers: Sequence[Answer], hidden: Collection[str]
) -> SizeReport:
    pairs = list(zip(cases, answers, strict=True))
    found = np.array([case.target in answer.sources for case, answer in pairs], dtype=np.float64)
    return SizeReport(
        size=size,
        hit_rate=confidence(found),
        shown=Counter(source for answer in answers for source in answer.sources.values()),
        hits=Counter(answer.sources[case.target] for case, answer in pairs if case.target in answer.sources),
        hidden=sum(item in hidden for answer in answers for item in answer.sources),
        met=sum(answer.met for answer in answers),
        served_by=Counter(answer.served_by for answer in answers),
        degraded=Counter(answer.degraded for answer in answers if answer.degraded is not None),
        latency=latency([answer.seconds for answer in answers]),
    )


def retrieval_to_rich(report: RetrievalReplay) -> RenderableType:
    """The whole report for a terminal, warnings first."""
    parts: list[RenderableType] = [Text(warning, style="bold red") for warning in _warnings(report)]
    parts.append(Text(_title(report)))
    for one in report.kinds:
        table = Table(*_headings(one), box=box.SIMPLE)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in _rows(one):
            table.add_row(*map(escape, row))
        parts += [Text(f"\n{_kind_title(one)}"), table, *(Text(fact) for fact in _facts(one))]
    return Group(*parts)


def retrieval_to_markdown(report: RetrievalReplay) -> str:
    """The whole report for a document."""
    parts = [f"{_title(report)}\n", *(f"**{warning}**\n" for warning in _warnings(report))]
    for one in report.kinds:
        headings = _headings(one)
        rows = (headings, ("---", *["---:"] * (len(headings) - 1)), *_rows(one))
        table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        parts += [f"{_kind_title(one)}\n", table, "".join(f"- {fact}\n" for fact in _facts(one))]
    return "\n".join(parts)


def _title(report: RetrievalReplay) -> str:
    drawn = report.protocol
    models = ", ".join(sorted({model for one in report.kinds for model in one.models})) or "no model"
    return (
        f"{report.data}: recommendations without candidates, from {report.items:,} items, of which {report.hidden:,} "
        f"are hidden from training (share {drawn.cold_share:g}, seed {drawn.seed}), after up to {drawn.history} events "
        f"of {drawn.split} users; {models}"
    )


def _kind_title(one: KindReport) -> str:
    return f"{one.kind}: {_KINDS[one.kind]}, {one.cases:,} users"


def _headings(one: KindReport) -> tuple[str, ...]:
    return ("found by", *(name for found in one.sizes for name in (f"shown@{found.size}", f"hits@{found.size}")))


def _rows(one: KindReport) -> Iterator[tuple[str, ...]]:
    """The cells under `_headings`: all items, then those of each stage, the most frequent first."""
    totals = {found.size: sum(found.shown.values()) for found in one.sizes}
    rates = ((f"{totals[found.size]:,}", f"{percent(found.hit_rate)} %") for found in one.sizes)
    yield ("all stages", *chain.from_iterable(rates))
    last = one.sizes[-1].shown
    names = {name for found in one.sizes for name in found.shown}
    for name in sorted(names, key=lambda name: (-last.get(name, 0), name)):
        counts = (
            (_share(found.shown.get(name, 0), totals[found.size]), f"{found.hits.get(name, 0):,}")
            for found in one.sizes
        )
        yield (name, *chain.from_iterable(counts))


def _warnings(report: RetrievalReplay) -> Iterator[str]:
    for one in report.kinds:
        degraded = sum((Counter(found.degraded) for found in one.sizes), Counter[str]())
        if degraded:
            share = sum(degraded.values()) / (one.cases * len(one.sizes))
            yield (
                f"WARNING: {100 * share:.1f} % of the {one.kind} answers were degraded ({_counts(degraded)}); the "
                "figures do not measure the model."
            )
        if one.folding is not None and one.folding.without_summary:
            yield f"WARNING: {one.folding.without_summary} {one.kind} users have no summary: see the dead letters."
    if report.undescribed:
        yield f"WARNING: {report.undescribed} pictures were not described, and prompts lacked their descriptions."


def _facts(one: KindReport) -> Iterator[str]:
    for found in one.sizes:
        yield (
            f"answers of {found.size}: served by {_counts(found.served_by)}; {_counts(found.degraded) or 'none'} "
            f"degraded; {_share(found.hidden, sum(found.shown.values()))} of the items are hidden ones; "
            f"{show_latency(found.latency)}"
        )
    yield show_folding(one.folding) if one.folding else "folding was not waited for"
    left_out = sum(found.met for found in one.sizes)
    if one.partly_excluded or left_out:
        yield (
            f"{one.partly_excluded:,} users met more items than a request may exclude; {left_out:,} items that they "
            "had met were left out of the answers afterwards"
        )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def _share(count: int, total: int) -> str:
    return f"{100 * count / max(1, total):.1f} %"
