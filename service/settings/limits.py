"""Settings of what callers may send, and how much at the same time."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from service.settings.declare import Count, Level, Rate, Seconds, SecondsOrZero, setting


class ConcurrencySettings(Level):
    """Requests that one gateway answers at the same time, by class. Further ones are rejected with 429."""

    events: Count = setting(512, "`POST /events` without streams.")
    event_streams: Count = setting(256, "Streams of events, which may stay open.")
    recommend: Count = setting(256, "`POST /recommend`.")
    items: Count = setting(64, "Writes to the catalogue.")
    deletes: Count = setting(64, "`DELETE /users/{id}`.")
    reads: Count = setting(256, "Reads of users and items, and all other requests.")
    operations: Count = setting(16, "`/readyz`. `/healthz` and `/metrics` have no limit.")


class RateSettings(Level):
    """Requests per second of one API key, by scope, in each gateway process. Further ones are rejected with 429."""

    events: Rate | None = setting(None, "`/events`; a batch or a stream is one request. Default: no limit.")
    recommend: Rate | None = setting(None, "`/recommend`. Default: no limit.")
    items: Rate | None = setting(None, "`/items` and all below. Default: no limit.")
    users: Rate | None = setting(None, "`/users/{id}`. Default: no limit.")
    admin: Rate | None = setting(None, "All other paths that need a key. Default: no limit.")


class LimitSettings(Level):
    """What a caller may send. Limits of the length of texts are fixed; the OpenAPI page shows them."""

    connections: Count = setting(10_000, "Open connections; fewer if the process may open fewer files.")
    header_bytes: Count = setting(64 * 1024, "Largest request line with headers.")
    header_timeout_s: Seconds = setting(10.0, "Time for request line and headers to arrive.")
    answer_timeout_s: Seconds = setting(30.0, "Time for a caller to read the answer.")
    body_bytes: Count = setting(16 * 1024 * 1024, "Largest body.")
    events_bytes: Count = setting(8 * 1024 * 1024, "Largest body of `POST /events`; streams may be longer.")
    recommend_bytes: Count = setting(2 * 1024 * 1024, "Largest body of `POST /recommend`.")
    json_values: Count = setting(100_000, "Values in a JSON body; parsing more would delay other requests.")
    body_timeout_s: Seconds = setting(30.0, "Time for a body to arrive.")
    batch_events: Count = setting(1000, "Events in a batch.")
    line_bytes: Count = setting(64 * 1024, "Longest line of an NDJSON stream.")
    stream_idle_s: Seconds = setting(30.0, "Time for which a stream may send nothing.")
    stream_rejections: Count = setting(1000, "Rejected lines listed in the answer to a stream.")
    bulk_items: Count = setting(1000, "Items in a batch.")
    candidates: Count = setting(500, "Candidates in a recommendation request.")
    max_k: Count = setting(100, "Items in a recommendation.")
    max_concurrent_requests: ConcurrencySettings = ConcurrencySettings()
    caller_share: Annotated[float, Field(gt=0, le=1)] = setting(
        0.5, "Share of `max_concurrent_requests` that one API key may use; without keys, one address."
    )
    requests_per_s: RateSettings = RateSettings()
    rate_burst_s: SecondsOrZero = setting(
        5.0, "Seconds without requests after which a key may send `requests_per_s` for as many seconds at once."
    )
    max_loop_lag_s: Seconds = setting(
        0.5,
        "Time that a recommendation may wait for the gateway's processor; above it, requests are rejected with 429: "
        "first `items` and `reads`, then `recommend`.",
    )
    bytes_in_flight: Count = setting(128 * 1024 * 1024, "Memory for the request bodies of a gateway.")

    @model_validator(mode="after")
    def _must_fit(self) -> Self:
        if self.body_bytes > self.bytes_in_flight:
            raise ValueError("BODY_BYTES must not be more than BYTES_IN_FLIGHT")
        return self
