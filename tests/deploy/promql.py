"""Which series a query of Prometheus reads, and which there are."""

import re

from service.metrics import Metrics

OF_PROMETHEUS = {
    "up",
    "ALERTS",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
}
OF_VLLM = {
    "vllm:e2e_request_latency_seconds_bucket",
    "vllm:generation_tokens_total",
    "vllm:kv_cache_usage_perc",
    "vllm:num_preemptions_total",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:prefix_cache_hits_total",
    "vllm:prefix_cache_queries_total",
    "vllm:prompt_tokens_total",
    "vllm:request_queue_time_seconds_bucket",
    "vllm:request_success_total",
    "vllm:time_to_first_token_seconds_bucket",
}
"""As vLLM 0.32 names them at /metrics."""

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_NOT_SERIES = re.compile(
    r""" "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'    # texts
    | \{[^}]*\} | \[[^]]*\]                       # matchers and ranges
    | \b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)
    | \b(?:and|or|unless|bool|offset)\b | \b\d[\w.]*""",
    re.VERBOSE,
)


def series_of(query: str) -> set[str]:
    """The names of the series that `query` reads."""
    return set(re.findall(r"(?<![\w:])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])", _NOT_SERIES.sub(" ", query)))


def selectors_of(query: str) -> set[str]:
    """The selectors of `query`: a series' name with its matchers, without range and offset."""
    names = "|".join(map(re.escape, sorted(series_of(query), key=len, reverse=True)))
    matchers = r"""(?:\{(?:"(?:[^"\\]|\\.)*"|[^}"])*\})?"""
    return set(re.findall(rf"(?<![\w:\"~])(?:{names})(?![\w:]){matchers}", query)) if names else set()


def declared_series() -> set[str]:
    """The names of all series of the service, as they are at /metrics."""
    families = Metrics().registry.collect()
    return {family.name + suffix for family in families for suffix in _SUFFIXES.get(family.type, ())}


def known_series() -> set[str]:
    return declared_series() | OF_PROMETHEUS | OF_VLLM
