"""A collector of traces that takes OTLP over HTTP, and a model server's view of the same traces."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.service.serving import serving


@dataclass
class Collector:
    url: str = ""
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        (span,) = self.named(name)
        return span

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        sent = ExportTraceServiceRequest.FromString(body)
        self.spans += [span for of in sent.resource_spans for scope in of.scope_spans for span in scope.spans]
        return Response(media_type="application/x-protobuf")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = Starlette(routes=[Route("/v1/traces", collector._take, methods=["POST"])])
    async with serving(app) as collector.url:
        yield collector
