"""The handshake of a broker before it delivers: HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4."""

from fastapi import APIRouter, Request, Response

from service.http.routes import PlainRoute
from service.parts import parts_of

router = APIRouter(route_class=PlainRoute)

_ASKED = "webhook-request-origin"
_MOST_CHARS = 253


@router.api_route("/events", methods=["OPTIONS"], include_in_schema=False)
async def allow_webhook(request: Request) -> Response:
    """Let a broker of `webhook_origins` deliver; without the two `WebHook-Allowed` headers it must not.

    Deliveries themselves need an API key all the same.
    """
    headers = {"allow": "OPTIONS, POST"}
    settings = parts_of(request).settings
    origin = request.headers.get(_ASKED, "").strip().lower()
    if origin and len(origin) <= _MOST_CHARS and _allows(settings.webhook_origins, origin):
        headers["webhook-allowed-origin"] = request.headers[_ASKED].strip()
        headers["webhook-allowed-rate"] = str(settings.webhook_rate or "*")
    return Response(status_code=200, headers=headers)


def _allows(allowed: tuple[str, ...], origin: str) -> bool:
    return "*" in allowed or origin in {one.lower() for one in allowed}
