"""How soon events are used, and the workers that see to it."""

from deploy.grafana.board import Board, Row
from deploy.grafana.panels import Query, heatmap, lines, numbers
from deploy.grafana.queries import mean, occurring, or_none, p50_p99, per_second, quantile, series, share

_TO_SUMMARY = "tastestream_event_to_summary_seconds"
_BURN = "TastestreamFreshnessBudgetBurn"
_GONE = ["TastestreamWorkersGone", "TastestreamOldestDue"]
_FRESH = 'sloth_slo="freshness"'
_JOBS = "tastestream_jobs_total"
_SUMMARIZER = 'engine="summarizer"'

_FRESHNESS_ROW = Row(
    "Freshness",
    [
        numbers(
            "Fresh, last hour",
            "Share of the events that were folded in the last hour. Events that still wait are not in it: see oldest "
            "due.",
            Query(
                f"1 - max ({series('slo:sli_error:ratio_rate1h', _FRESH)})",
                "last hour",
            ),
            unit="percentunit",
            decimals=2,
            width=4,
            height=8,
            base="red",
            thresholds=[(0.95, "orange"), (0.99, "green")],
            runbooks=[_BURN],
        ),
        lines(
            "From the request to the recents",
            "After this time every recommendation sees the event.",
            *p50_p99("tastestream_event_to_recents_seconds"),
            unit="s",
            width=6,
        ),
        lines(
            "From the acceptance to the summary",
            "Until the summary that contains the event is written. A block waits up to `state.max_wait_s` to fill.",
            Query(quantile(0.5, _TO_SUMMARY), "p50"),
            Query(quantile(0.9, _TO_SUMMARY), "p90"),
            Query(quantile(0.99, _TO_SUMMARY), "p99"),
            Query(f"max ({series('tastestream_slo_freshness_threshold_seconds')})", "objective"),
            unit="s",
            scale="log",
            width=6,
            runbooks=[_BURN],
        ),
        heatmap(
            "From the acceptance to the summary, all events",
            "Events per second by how long they took. Two bands mean two kinds of users: those who fill blocks, and "
            "those who wait.",
            Query(per_second(f"{_TO_SUMMARY}_bucket", by="le"), "{{le}}"),
            unit="s",
            width=8,
            runbooks=[_BURN],
        ),
    ],
)

_BACKLOG_ROW = Row(
    "Backlog",
    [
        lines(
            "Pending events",
            "Accepted and not yet folded. At `state.max_backlog` further events of a tenant are refused.",
            Query(f"max ({series('tastestream:pending_events:max')})", "pending"),
            unit="short",
            width=5,
            runbooks=["TastestreamBacklogGrowing"],
        ),
        numbers(
            "Backlog used",
            "Pending events of the tenant that has the most, as a share of `state.max_backlog`.",
            Query(
                f"max ({series('tastestream_pending_events')} / ignoring (tenant) group_left () "
                f"{series('tastestream_max_backlog')})",
                "of the backlog",
            ),
            unit="percentunit",
            decimals=2,
            width=3,
            height=8,
            thresholds=[(0.5, "orange"), (0.8, "red")],
            runbooks=["TastestreamBacklogGrowing"],
        ),
        lines(
            "Accepted and folded",
            "While folded stays below accepted, the backlog grows.",
            Query(per_second("tastestream_events_total", 'result="accepted"'), "accepted"),
            Query(per_second("tastestream_folded_events_total"), "folded"),
            unit="cps",
            width=6,
            runbooks=["TastestreamBacklogGrowing"],
        ),
        lines(
            "Users who are due",
            "A user is due when a block is full or its oldest event has waited `state.max_wait_s`.",
            Query(f"max ({series('tastestream:due_users:max')})", "due"),
            unit="short",
            width=5,
            runbooks=_GONE,
        ),
        lines(
            "Longest wait of a due user",
            "Above 60 s, and with no work done, it pages; above 120 s with 10 users due, it pages in any case.",
            Query(f"max ({series('tastestream:oldest_due_seconds:max')})", "oldest due"),
            unit="s",
            width=5,
            thresholds=[(60, "orange"), (120, "red")],
            runbooks=_GONE,
        ),
    ],
)

_WORK_ROW = Row(
    "Claimed work",
    [
        lines(
            "Work, by kind and outcome",
            "summarize folds a user's events, describe writes about a picture, fetch gets one. committed is done; "
            "retried failed and will be tried again; released was given back unstarted; lost was another's meanwhile.",
            Query(occurring(per_second(_JOBS, by="kind, outcome"), "kind"), "{{kind}} {{outcome}}"),
            unit="cps",
            width=9,
            stacked=True,
            runbooks=["TastestreamWorkersGone"],
        ),
        lines(
            "Time of one attempt",
            "From its start to its commit or failure, against the lease, after which another worker may take it.",
            *p50_p99("tastestream_job_seconds", by="kind"),
            Query(f"max ({series('tastestream_lease_seconds')})", "lease"),
            unit="s",
            scale="log",
            width=9,
            runbooks=["TastestreamLeaseLosses"],
        ),
        lines(
            "Lost leases",
            "Share of the attempts at folding that were in vain, because the lease ran out or the user was deleted.",
            Query(
                share(per_second(_JOBS, 'kind="summarize",outcome="lost"'), per_second(_JOBS, 'kind="summarize"')),
                "lost",
            ),
            unit="percentunit",
            width=6,
            thresholds=[(0.01, "red")],
            runbooks=["TastestreamLeaseLosses"],
        ),
        lines(
            "Dead letters",
            "Work that was given up after its last attempt, kept until somebody retries or drops it.",
            Query(f"max ({series('tastestream:dead_letters:max')})", "kept"),
            unit="short",
            runbooks=["TastestreamDeadLetters"],
        ),
        lines(
            "Failed attempts",
            "retried will be tried again with a longer delay each time; dead_lettered was the last attempt.",
            Query(per_second(_JOBS, 'outcome=~"retried|dead_lettered"', by="kind, outcome"), "{{kind}} {{outcome}}"),
            unit="cps",
            runbooks=["TastestreamDeadLetters"],
        ),
        lines(
            "Folded although something was missing",
            "item: not in the catalogue. interaction: an exposure, which says nothing about a taste. description: the "
            "picture was not described yet. Nothing of the first two reaches the summary.",
            Query(
                or_none(per_second("tastestream_folded_events_missing_total", by="missing"), "missing"),
                "{{missing}}",
            ),
            unit="cps",
            runbooks=["TastestreamUnknownItems"],
        ),
    ],
)

_LLM_ROW = Row(
    "Summarizer, as workers see it",
    [
        lines(
            "Calls, by outcome",
            "ok, or the code of the error.",
            Query(
                occurring(per_second("tastestream_engine_calls_total", _SUMMARIZER, by="call, outcome"), "call"),
                "{{call}} {{outcome}}",
            ),
            unit="cps",
            width=6,
            runbooks=["TastestreamSummarizerDown"],
        ),
        lines(
            "Duration of a call",
            "Of one call for one block of events, or one description.",
            *p50_p99("tastestream_engine_call_seconds", _SUMMARIZER, by="call"),
            unit="s",
            width=6,
            runbooks=["TastestreamSummarizerDown", "TastestreamFreshnessBudgetBurn"],
        ),
        lines(
            "Calls and events per fold",
            "Calls for one claim of a user's events, and events of one commit, on average. More calls than one mean "
            "that users have backlogs.",
            Query(mean("tastestream_fold_llm_calls"), "calls"),
            Query(
                share(
                    per_second("tastestream_folded_events_total"),
                    per_second(_JOBS, 'kind="summarize",outcome="committed"'),
                ),
                "events",
            ),
            unit="short",
            width=6,
        ),
        lines(
            "Tokens per fold",
            "Tokens of the summarizer per claim; descriptions of pictures are counted here, too.",
            Query(
                share(
                    per_second("tastestream_llm_tokens_total", f'{_SUMMARIZER},kind="prompt"'),
                    per_second("tastestream_fold_llm_calls_count"),
                ),
                "prompt",
            ),
            Query(
                share(
                    per_second("tastestream_llm_tokens_total", f'{_SUMMARIZER},kind="completion"'),
                    per_second("tastestream_fold_llm_calls_count"),
                ),
                "completion",
            ),
            unit="short",
            width=6,
        ),
    ],
)

FRESHNESS_WORKERS = Board(
    "freshness-workers",
    "Freshness and workers",
    "How soon an event is used, how much waits, and what the workers do.",
    [_FRESHNESS_ROW, _BACKLOG_ROW, _WORK_ROW, _LLM_ROW],
)
