"""Queries of panels. All series are those of the namespaces that the dashboard's variable selects."""

from deploy.grafana.panels import Query

NAMESPACE = 'namespace=~"$namespace"'
OF_MODEL = 'model=~"$model"'
_WINDOW = "$__rate_interval"


def series(name: str, matchers: str = "") -> str:
    """The selector of a series."""
    return f"{name}{{{NAMESPACE}{',' if matchers else ''}{matchers}}}"


def per_second(counter: str, matchers: str = "", *, by: str = "") -> str:
    """How fast a counter grows, added up except for the labels `by`."""
    return f"sum by ({by}) (rate({series(counter, matchers)}[{_WINDOW}]))"


def increase(counter: str, matchers: str = "", *, by: str = "", window: str) -> str:
    """How much a counter has grown in a fixed window."""
    return f"sum by ({by}) (increase({series(counter, matchers)}[{window}]))"


def quantile(q: float, histogram: str, matchers: str = "", *, by: str = "") -> str:
    """A quantile of a histogram, estimated within its buckets; without observations there is none."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, {per_second(f'{histogram}_bucket', matchers, by=labels)})"


def p50_p99(histogram: str, matchers: str = "", *, by: str = "") -> tuple[Query, Query]:
    """The median and the slow end of a histogram, named so and by the value of the label `by`."""
    whose = f"{{{{{by}}}}} " if by else ""
    return (
        Query(quantile(0.5, histogram, matchers, by=by), f"{whose}p50"),
        Query(quantile(0.99, histogram, matchers, by=by), f"{whose}p99"),
    )


def mean(histogram: str, matchers: str = "", *, by: str = "") -> str:
    """The mean of a histogram's observations."""
    total, number = (per_second(f"{histogram}_{part}", matchers, by=by) for part in ("sum", "count"))
    return f"{total} / {number}"


def share(part: str, whole: str, *, by: str = "") -> str:
    """A part of the whole, for each value of the labels `by` that only the part has."""
    return f"{part} / on () group_left () {whole}" if by else f"{part} / {whole}"


def or_none(query: str, label: str) -> str:
    """The query, or a 0 that is called `none` while it has no series: a panel without data would look broken."""
    return f'{query} or on () label_replace(vector(0), "{label}", "none", "", "")'


def occurring(query: str, label: str) -> str:
    """What of the query is not 0, or a 0 that is called `none`."""
    return or_none(f"{query} > 0", label)


def or_zero(query: str) -> str:
    """The query, or 0 while it has no series."""
    return f"{query} or on () vector(0)"
