"""Series of events and of the catalogue."""

from collections.abc import Iterable

from service.metrics.declare import Declare
from service.names import DEFAULT_TENANT

_EVENT_RESULTS = ("accepted", "duplicate", "rejected", "backlog_full", "overloaded", "deleted")
_DECODER_CAUSES = ("cpu", "timeout", "crash", "cancelled")


class EventSeries:
    def __init__(self, declare: Declare) -> None:
        self.events = declare.counter(
            "tastestream_events_total",
            f"Received events by tenant and result: {', '.join(_EVENT_RESULTS)}.",
            ("tenant", "result"),
        )
        self.show_tenants([DEFAULT_TENANT])
        self.last_event_s = 0.0
        self.last_event = declare.gauge(
            "tastestream_last_event_timestamp_seconds",
            "Time of the last accepted event, since the start of the process; 0 before the first.",
            across="max",
        )
        self.event_to_recents = declare.histogram(
            "tastestream_event_to_recents_seconds",
            "Freshness: time from the arrival of a request with events to the write after which every recommendation "
            "sees them. Of a stream, from the arrival of each chunk.",
        )
        self.unknown_types = declare.counter(
            "tastestream_unknown_event_types_total", "Accepted events of an unknown type. They count as neutral."
        )
        self.unknown_items = declare.counter(
            "tastestream_events_unknown_item_total",
            "Accepted events whose item is not in the catalogue, estimated from a sample of 500 per second.",
        )
        self.outcomes = declare.counter(
            "tastestream_recommendation_outcomes_total",
            "Accepted events with a recommendation id, except those that an item was only shown, by what ranked the "
            "recommendation (unknown: the id was not issued by this service), its model version (other: not the one of "
            "this gateway) and the event's signal.",
            ("served_by", "model", "signal"),
        )

    def show_tenants(self, names: Iterable[str]) -> None:
        """Export the events of these tenants, which are 0 so far."""
        for name in names:
            for result in _EVENT_RESULTS:
                self.events.labels(name, result)


class CatalogueSeries:
    def __init__(self, declare: Declare) -> None:
        self.items = declare.counter(
            "tastestream_items_total", "Catalogue writes by result: created, updated, rejected, deleted.", ("result",)
        )
        self.pictures = declare.counter(
            "tastestream_pictures_total",
            "Pictures of items by result: stored, stored_blank (all white or black), or the reason of the rejection.",
            ("result",),
        )
        self.picture_decoders_ended = declare.counter(
            "tastestream_picture_decoders_ended_total",
            f"Decoder processes that ended while decoding a picture, by cause: {', '.join(_DECODER_CAUSES)}.",
            ("cause",),
            known=[(cause,) for cause in _DECODER_CAUSES],
        )
