"""Series of background work."""

from itertools import product

from service.metrics.declare import Declare
from service.state.kinds import KINDS

_FRESHNESS = (0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 300, 600, 1800)
_KINDS = tuple(kind.name for kind in KINDS)
_OUTCOMES = ("committed", "refused", "retried", "dead_lettered", "released", "lost")
_CALLS = (0, 1, 2, 3, 4, 6, 8, 12, 16)


class WorkerSeries:
    def __init__(self, declare: Declare) -> None:
        self.jobs = declare.counter(
            "tastestream_jobs_total",
            f"Claimed work by kind ({', '.join(_KINDS)}) and outcome: committed, refused (a picture that is not "
            "acceptable), retried, dead_lettered, released (not an attempt), lost (the lease ran out or the work was "
            "superseded).",
            ("kind", "outcome"),
            known=product(_KINDS, _OUTCOMES),
        )
        self.job_seconds = declare.histogram(
            "tastestream_job_seconds",
            "Time of one attempt at claimed work, from its start to its commit or failure.",
            ("kind",),
        )
        self.event_to_summary = declare.histogram(
            "tastestream_event_to_summary_seconds",
            "Freshness: time from the acceptance of an event to the commit of the summary that contains it, once per "
            "folded event. Without events that are folded again after a dead letter or for a rebuild.",
            buckets=_FRESHNESS,
        )
        self.fold_llm_calls = declare.histogram(
            "tastestream_fold_llm_calls",
            "Calls to the summarizer for one claim of a user's events.",
            buckets=_CALLS,
        )
        self.folded_events = declare.counter("tastestream_folded_events_total", "Events folded into summaries.")
        self.folded_events_missing = declare.counter(
            "tastestream_folded_events_missing_total",
            "Events folded although something was missing: their item was not in the catalogue (item) or they were "
            "exposures (interaction), and nothing of them reached the summary; or their item had a picture without a "
            "description (description).",
            ("missing",),
        )
        self.sweeps = declare.counter(
            "tastestream_sweeps_total",
            "Removals of unused pictures by outcome: swept, failed, empty (nothing removed, as there are no items).",
            ("outcome",),
        )
        self.pictures_removed = declare.counter(
            "tastestream_pictures_removed_total", "Unused picture files that were removed."
        )
        self.picture_bytes_freed = declare.counter(
            "tastestream_picture_bytes_freed_total", "Bytes of the unused picture files that were removed."
        )
