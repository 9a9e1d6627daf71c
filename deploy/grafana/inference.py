"""The model servers: what gateways and workers see of them, and what vLLM says about itself."""

from deploy.grafana.board import Board, Row
from deploy.grafana.panels import Query, lines
from deploy.grafana.queries import mean, occurring, or_none, p50_p99, per_second, quantile, series, share

_RANKER = 'engine="ranker"'
_CALLS = "tastestream_engine_calls_total"
_CALL_SECONDS = "tastestream_engine_call_seconds"
_CACHE = "tastestream_score_cache_total"
_DOWN, _SHEDDING, _OPEN = "TastestreamRankerDown", "TastestreamRankerShedding", "TastestreamBreakerOpen"
_SERVERS = 'job=~"tastestream-(ranker|summarizer)"'

_RANKER_ROW = Row(
    "Ranker, as gateways see it",
    [
        lines(
            "Calls, by outcome",
            "ok, or the code of the error. cancelled: the deadline of the request came first.",
            Query(occurring(per_second(_CALLS, _RANKER, by="outcome"), "outcome"), "{{outcome}}"),
            unit="cps",
            stacked=True,
            runbooks=[_DOWN],
        ),
        lines(
            "Duration of a call",
            "One call scores all candidates of a request that are not in the score cache.",
            *p50_p99(_CALL_SECONDS, _RANKER),
            unit="s",
            runbooks=[_SHEDDING],
        ),
        lines(
            "Circuit breakers",
            "Of each model server, in the process that is worst off. Open: nothing is asked. Half-open: a few calls "
            "try whether the server is back.",
            Query(or_none(f"max by (engine) ({series('tastestream_breaker_state')})", "engine"), "{{engine}}"),
            unit="short",
            stepped=True,
            most=2,
            names={0: "closed", 1: "half-open", 2: "open"},
            runbooks=[_OPEN],
        ),
        lines(
            "Wait for a free place",
            "Time that a ranking waits because as many others as may are in progress.",
            *p50_p99("tastestream_ranker_wait_seconds"),
            unit="s",
            width=6,
            runbooks=[_SHEDDING],
        ),
        lines(
            "Rankings at the same time",
            "How many are in progress, and how many may be: the limit of each gateway process follows the ranker's "
            "latency. Sum of all processes.",
            Query(f"sum({series('tastestream_ranker_concurrent')})", "in progress"),
            Query(f"sum({series('tastestream_ranker_concurrency_limit')})", "limit"),
            unit="short",
            width=6,
            runbooks=[_SHEDDING],
        ),
        lines(
            "Requests shed",
            "Requests per second that overload kept from the service they asked for. `ranking`: answered "
            "without the model, because no place at the ranker would have been free in time. Others: refused with 429, "
            "because the event loop of a gateway was late.",
            Query(occurring(per_second("tastestream_shed_total", by="class"), "class"), "{{class}}"),
            unit="reqps",
            width=6,
            runbooks=[_SHEDDING],
        ),
        lines(
            "Lag of the event loop",
            "How long a recommendation waits for the processor, in the gateway that is worst off. Above "
            "`limits.max_loop_lag_s` (0.5 s) requests are shed.",
            Query(f"max({series('tastestream_event_loop_lag_seconds')})", "lag"),
            unit="s",
        ),
        lines(
            "Retry budgets",
            "What is left of the budget of retries, in the process that has least. At 0, calls are not retried.",
            Query(
                or_none(f"min by (engine) ({series('tastestream_retry_budget_ratio')})", "engine"),
                "{{engine}}",
            ),
            unit="percentunit",
            width=6,
            most=1,
            runbooks=[_OPEN],
        ),
        lines(
            "Score cache",
            "Share of the lookups that found a score of the same user state, item revision and model version.",
            Query(share(per_second(_CACHE, 'result="hit"'), per_second(_CACHE)), "hits"),
            unit="percentunit",
            most=1,
            width=6,
        ),
        lines(
            "Candidates per recommendation",
            "What one call has to score, at most. The ranker's time grows with it.",
            Query(mean("tastestream_recommend_candidates"), "mean"),
            Query(quantile(0.99, "tastestream_recommend_candidates"), "p99"),
            unit="short",
            width=6,
        ),
        lines(
            "Tokens of the ranker",
            "Prompt tokens as vLLM reports them with its answers; in `chat` mode also completions and the cached part.",
            Query(per_second("tastestream_llm_tokens_total", _RANKER, by="kind"), "{{kind}}"),
            unit="cps",
            width=6,
        ),
        lines(
            "Failures that a recommendation survived",
            "Optional parts that failed: the recommendation or fold went on without them.",
            Query(
                occurring(per_second("tastestream_dependency_failures_total", by="dependency"), "dependency"),
                "{{dependency}}",
            ),
            unit="cps",
            width=6,
        ),
    ],
)


def _gauge(name: str) -> Query:
    return Query(f"sum by (job, instance) ({series(name, _SERVERS)})", "{{job}} {{instance}}")


_VLLM_ROW = Row(
    "vLLM, in its own words",
    [
        lines(
            "Requests running",
            "In the batch that is being computed. A request of the gateway is one here per candidate.",
            _gauge("vllm:num_requests_running"),
            unit="short",
            width=6,
        ),
        lines(
            "Requests waiting",
            "For a place in the batch. If it stays above 0, the server is at its limit.",
            _gauge("vllm:num_requests_waiting"),
            unit="short",
            width=6,
            runbooks=[_SHEDDING],
        ),
        lines(
            "Time in the queue",
            "From the arrival at vLLM to the first computation.",
            *p50_p99("vllm:request_queue_time_seconds", _SERVERS, by="job"),
            unit="s",
            width=6,
            runbooks=[_SHEDDING],
        ),
        lines(
            "Time in vLLM",
            "From the arrival at vLLM to the end of the answer.",
            *p50_p99("vllm:e2e_request_latency_seconds", _SERVERS, by="job"),
            unit="s",
            width=6,
            runbooks=[_SHEDDING],
        ),
        lines(
            "KV cache used",
            "Near 100 % requests are preempted or wait. It holds the prefixes as well.",
            Query(f"max by (job, instance) ({series('vllm:kv_cache_usage_perc', _SERVERS)})", "{{job}} {{instance}}"),
            unit="percentunit",
            width=6,
            most=1,
            thresholds=[(0.95, "red")],
            runbooks=[_SHEDDING],
        ),
        lines(
            "Prefix cache",
            "Share of the prompt tokens that were not computed again. All candidates of a request share the user's "
            "part.",
            Query(
                f"{per_second('vllm:prefix_cache_hits_total', _SERVERS, by='job')}"
                f" / {per_second('vllm:prefix_cache_queries_total', _SERVERS, by='job')}",
                "{{job}}",
            ),
            unit="percentunit",
            width=6,
            most=1,
        ),
        lines(
            "Preemptions",
            "Requests that lost their place because the KV cache was full, and are computed again.",
            Query(per_second("vllm:num_preemptions_total", _SERVERS, by="job"), "{{job}}"),
            unit="cps",
            width=6,
            runbooks=[_SHEDDING],
        ),
        lines(
            "Time to the first token",
            "Of the summarizer. The ranker writes no tokens.",
            *p50_p99("vllm:time_to_first_token_seconds", 'job="tastestream-summarizer"'),
            unit="s",
            width=6,
        ),
        lines(
            "Prompt tokens",
            "Tokens read, those from the prefix cache included.",
            Query(per_second("vllm:prompt_tokens_total", _SERVERS, by="job"), "{{job}}"),
            unit="cps",
            width=6,
        ),
        lines(
            "Written tokens",
            "Tokens of summaries and descriptions.",
            Query(per_second("vllm:generation_tokens_total", 'job="tastestream-summarizer"', by="job"), "{{job}}"),
            unit="cps",
            width=6,
        ),
        lines(
            "Finished requests, by reason",
            "stop: the model ended. length: cut off at its limit of tokens. abort: the caller left. error: a fault.",
            Query(
                per_second("vllm:request_success_total", _SERVERS, by="job, finished_reason"),
                "{{job}} {{finished_reason}}",
            ),
            unit="cps",
            width=6,
        ),
        lines(
            "Resident memory",
            "Of each server's API process. The computing process of vLLM is another one.",
            Query(
                f"max by (job, instance) ({series('process_resident_memory_bytes', _SERVERS)})", "{{job}} {{instance}}"
            ),
            unit="bytes",
            width=6,
        ),
    ],
)

INFERENCE = Board(
    "inference",
    "Inference",
    "Whether the model servers answer, how fast, and what they have room for.",
    [_RANKER_ROW, _VLLM_ROW],
)
