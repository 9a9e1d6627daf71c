"""The handshake of a broker before it delivers: HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4."""

from collections.abc import Collection

from fastapi import APIRouter, Request, Response

from service.http.routes import PlainRoute

_ASKED = "webhook-request-origin"
_MOST_CHARS = 253


def webhook_router(origins: Collection[str], rate: int | None) -> APIRouter:
    """The route that lets the brokers of `origins` deliver.

    Args:
        origins: as brokers name themselves; `*` is any.
        rate: deliveries a minute that each is allowed; None for no bound.
    """
    router = APIRouter(route_class=PlainRoute)
    allowed = {origin.lower() for origin in origins}

    @router.api_route("/events", methods=["OPTIONS"], include_in_schema=False)
    async def allow_webhook(request: Request) -> Response:
        """Let a broker deliver; without the two `WebHook-Allowed` headers it must not.

        Deliveries themselves need an API key all the same.
        """
        headers = {"allow": "OPTIONS, POST"}
        origin = request.headers.get(_ASKED, "").strip()
        if origin and len(origin) <= _MOST_CHARS and ("*" in allowed or origin.lower() in allowed):
            headers["webhook-allowed-origin"] = origin
            headers["webhook-allowed-rate"] = str(rate or "*")
        return Response(status_code=200, headers=headers)

    return router
