"""Series of requests and connections."""

from service.errors import codes
from service.metrics.declare import Declare


class HttpSeries:
    def __init__(self, declare: Declare) -> None:
        self.request_seconds = declare.histogram(
            "tastestream_http_request_seconds",
            "Time from the first byte of a request to the end of the response, by route template.",
            ("method", "route", "status"),
        )
        self.requests_in_flight = declare.gauge(
            "tastestream_http_requests_in_flight", "Requests in progress.", across="sum"
        )
        self.requests_admitted = declare.gauge(
            "tastestream_http_requests_admitted",
            "Requests in progress by class. `limits.max_concurrent_requests` is the limit of each class.",
            ("route_class",),
            across="sum",
        )
        self.requests_refused = declare.counter(
            "tastestream_http_requests_refused_total",
            "Requests rejected with 429 before their body was read, by class and reason (class_full, caller_share).",
            ("route_class", "reason"),
        )
        self.loop_lag = declare.gauge(
            "tastestream_event_loop_lag_seconds",
            "How long a recommendation waits for the processor of a gateway; above `limits.max_loop_lag_s` requests "
            "are shed. Of several processes the longest.",
            across="max",
        )
        self.body_bytes = declare.gauge(
            "tastestream_http_body_bytes",
            "Memory for request bodies in bytes. `limits.bytes_in_flight` is the limit.",
            across="sum",
        )
        self.bodies_refused = declare.counter(
            "tastestream_http_bodies_refused_total",
            "Request bodies dropped because all bodies together exceeded `limits.bytes_in_flight`.",
        )
        self.connections = declare.gauge(
            "tastestream_http_connections", "Open connections, including idle ones.", across="sum"
        )
        self.max_connections = declare.gauge(
            "tastestream_max_connections",
            "`limits.connections`, or fewer if the process may open fewer files.",
            across="sum",
        )
        self.api_keys_stale = declare.gauge(
            "tastestream_api_keys_stale",
            "1 while the file of API keys can't be read or has a wrong line, so that its last good keys are in force.",
            across="max",
        )
        self.errors = declare.counter(
            "tastestream_errors_total",
            "Error responses by code.",
            ("code",),
            known=[(code,) for code in codes()],
        )
