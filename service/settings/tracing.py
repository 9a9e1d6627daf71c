"""Settings of traces."""

from typing import Annotated

from pydantic import Field, field_validator

from service.settings.declare import Level, setting
from service.settings.urls import is_url


class TracingSettings(Level):
    """Traces by OpenTelemetry, which the extra `tracing` installs. Other settings of its SDK are its own variables,
    such as `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_BSP_MAX_QUEUE_SIZE`."""

    endpoint: str | None = setting(None, "Root URL of a collector that takes OTLP over HTTP; default: no traces.")
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = setting(
        1.0, "Share of the requests that are traced, if the caller's `traceparent` does not decide."
    )

    @field_validator("endpoint")
    @classmethod
    def _must_be_http(cls, url: str | None) -> str | None:
        if url is not None and not is_url(url, ("http", "https")):
            raise ValueError("must be the root of a collector: http://HOST:4318")
        return url
