"""What the load test claims, and whether it held; and the rows of its tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from model_store.errors import UserError
from tests.benchmarks.load_traffic import EVENTS, RECOMMENDING, Outcome, of, reasons, statuses
from tests.benchmarks.tables import percentile

SLACK_MS = 250
"""Of a caller on the same cores as everything else: its own waiting counts as the service's."""


@dataclass
class Claims:
    """Claims that were checked; the command fails if one does not hold."""

    checked: list[tuple[bool, str]] = field(default_factory=list)

    def check(self, held: bool, claim: str) -> None:
        self.checked.append((held, claim))

    def lines(self) -> list[str]:
        return [f"{'holds' if held else 'FAILS'}: {claim}" for held, claim in self.checked]

    def require(self) -> None:
        """
        Raises:
            UserError: a claim does not hold.
        """
        failed = [claim for held, claim in self.checked if not held]
        if failed:
            raise UserError(f"{len(failed)} of {len(self.checked)} claims do not hold: " + "; ".join(failed))


@dataclass(frozen=True)
class Level:
    """What callers saw at one rate.

    Args:
        share: of the capacity.
        fresh: folded events by the upper bound of their time to the summary, cumulative.
        memory_mib: of the gateway at the end.
    """

    share: float
    seconds: float
    outcomes: Sequence[Outcome]
    fresh: Mapping[float, float]
    drained: bool
    memory_mib: float

    @property
    def recommendations(self) -> list[Outcome]:
        return of(self.outcomes, RECOMMENDING)

    def goodput(self, deadline_ms: int) -> float:
        """Recommendations a second that the model ranked, in time."""
        return goodput(self.recommendations, deadline_ms) / self.seconds

    def row(self, deadline_ms: int) -> list[str]:
        asked, events = self.recommendations, of(self.outcomes, EVENTS)
        answered_ms = [1000 * one.latency_s for one in asked if one.status == 200] or [0.0]
        event_ms = [1000 * one.latency_s for one in events if one.status == 202] or [0.0]
        return [
            f"{self.share:g}",
            f"{len(self.outcomes) / self.seconds:.1f}",
            f"{len(asked) / self.seconds:.1f}",
            f"{self.goodput(deadline_ms):.1f}",
            f"{share(asked, lambda one: bool(one.reason)):.0%}",
            reasons(asked),
            statuses(asked),
            f"{percentile(answered_ms, 50):.0f}",
            f"{percentile(answered_ms, 99):.0f}",
            f"{sum(one.accepted for one in events) / self.seconds:.1f}",
            f"{sum(one.status != 202 for one in events)}",
            f"{percentile(event_ms, 99):.0f}",
            f"{quantile(self.fresh, 0.5)} / {quantile(self.fresh, 0.99)}" + ("" if self.drained else " *"),
            f"{self.memory_mib:.0f}",
        ]


LEVEL_COLUMNS = (
    "of capacity",
    "requests/s",
    "recommend/s",
    "ranked in time/s",
    "degraded",
    "reasons",
    "statuses",
    "p50 ms",
    "p99 ms",
    "events/s",
    "not accepted",
    "events p99 ms",
    "fresh p50 / p99 s",
    "MiB",
)


def goodput(outcomes: Sequence[Outcome], deadline_ms: int) -> int:
    """How many were ranked by the model, in time."""
    return sum(one.full and 1000 * one.latency_s <= deadline_ms for one in outcomes)


def share(outcomes: Sequence[Outcome], which: Callable[[Outcome], bool]) -> float:
    """The share of them for which `which` is true."""
    return sum(map(which, outcomes)) / len(outcomes) if outcomes else 0.0


def quantile(buckets: Mapping[float, float], q: float) -> str:
    """The upper bound of the bucket that has the quantile, as `< 5`."""
    total = max(buckets.values(), default=0.0)
    if total == 0:
        return "-"
    bound = min(upper for upper, count in buckets.items() if count >= q * total)
    return f"< {bound:g}" if bound != float("inf") else "more"


def check_levels(claims: Claims, levels: Sequence[Level], deadline_ms: int) -> None:
    """The claims about the table of levels."""
    best = max(level.goodput(deadline_ms) for level in levels)
    for level in levels:
        name, asked = f"at {level.share:g} x capacity", level.recommendations
        events = of(level.outcomes, EVENTS)
        late = percentile([1000 * one.latency_s for one in asked if one.status == 200] or [0.0], 99)
        claims.check(late <= deadline_ms + SLACK_MS, f"{name}, 99 % of recommendations are answered in time")
        claims.check(not any(one.failed for one in level.outcomes), f"{name}, no request fails")
        claims.check(all(one.status == 202 for one in events), f"{name}, every event is accepted")
    last = levels[-1]
    if last.share > 1:
        ratio = last.goodput(deadline_ms) / best if best else 0.0
        claims.check(ratio >= 0.9, f"at {last.share:g} x capacity, goodput is {ratio:.0%} of its peak, 90 % at least")


FAULT_COLUMNS = (
    "fault",
    "recommendations",
    "degraded",
    "reasons",
    "p50 / p99 ms",
    "events",
    "items",
    "recovered after s",
)


def fault_row(name: str, during: Sequence[Outcome], recovered_s: float | None) -> list[str]:
    """What callers saw from the fault until it was mended."""
    asked = of(during, RECOMMENDING)
    latencies = [1000 * one.latency_s for one in asked if one.status] or [0.0]
    return [
        name,
        statuses(asked),
        f"{share(asked, lambda one: bool(one.reason)):.0%}",
        reasons(asked),
        f"{percentile(latencies, 50):.0f} / {percentile(latencies, 99):.0f}",
        statuses(of(during, EVENTS)),
        statuses(of(during, ("item", "picture"))),
        "never" if recovered_s is None else f"{recovered_s:.1f}",
    ]
