"""The HTTP server of the picture encoder: `POST /encode?encoder=ID`, `GET /healthz`, `GET /metrics`.

It is for the workers of one network, as model servers are: it asks for no key, and takes nothing but pictures.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from model_store.registry.manifest import Manifest
from service.encoder.batching import Batcher, Encode, Unreadable
from service.errors import Overloaded
from service.metrics import Metrics
from service.pictures.encoders import ENCODER_PARAMETER
from service.settings.encoder import EncoderSettings


def create_encoder_app(version: Manifest, encode: Encode, settings: EncoderSettings, metrics: Metrics) -> Starlette:
    """The ASGI application.

    Args:
        version: the model version whose tokens it makes; requests for another encoder are refused.
        encode: see `Batcher`.
    """
    batchers: list[Batcher] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        batchers.append(Batcher(encode, settings.max_batch, settings.max_waiting, metrics))
        yield
        await batchers.pop().close()

    async def post_encode(request: Request) -> Response:
        asked = request.query_params.get(ENCODER_PARAMETER, version.encoder_id)
        outcome = "failed"
        try:
            if asked != version.encoder_id:
                outcome = "other_version"
                return PlainTextResponse(f"this is the encoder {version.encoder_id} of {version.id}", 409)
            picture = await _body(request, settings.max_bytes)
            if picture is None:
                outcome = "too_large"
                return PlainTextResponse(f"a picture of more than {settings.max_bytes} bytes", 413)
            blob = await batchers[0].encode(picture)
            outcome = "encoded"
            return Response(blob, media_type="application/octet-stream")
        except Unreadable as error:
            outcome = "unreadable"
            return PlainTextResponse(str(error), 422)
        except Overloaded as error:
            outcome = "shed"
            return PlainTextResponse(error.detail, 429)
        except ClientDisconnect:
            outcome = "disconnected"
            return Response(status_code=499)
        finally:
            metrics.encoder_pictures.labels(outcome).inc()

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok", "version": version.id, "encoder": version.encoder_id})

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.page(), media_type="text/plain; version=0.0.4")

    routes = [
        Route("/encode", post_encode, methods=["POST"]),
        Route("/healthz", healthz),
        Route("/metrics", show_metrics),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


async def _body(request: Request, most: int) -> bytes | None:
    """The body, or None if it has more than `most` bytes."""
    pieces, length = [], 0
    async for piece in request.stream():
        length += len(piece)
        if length > most:
            return None
        pieces.append(piece)
    return b"".join(pieces)
