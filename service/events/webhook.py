"""The handshake with which a broker asks to deliver: HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4."""

from collections.abc import Collection

from fastapi import APIRouter, Request, Response

from service.http.routes import PlainRoute

_MAX_CHARS = 253


def webhook_router(origins: Collection[str], rate: int | None) -> APIRouter:
    """The route that allows the brokers of `origins` to deliver.

    Args:
        origins: the brokers' names of themselves; `*` allows any.
        rate: deliveries per minute that each may make; None for no limit.
    """
    router = APIRouter(route_class=PlainRoute)
    allowed = {origin.lower() for origin in origins}

    @router.api_route("/events", methods=["OPTIONS"], include_in_schema=False)
    async def allow_webhook(request: Request) -> Response:
        """Allow a broker to deliver, with the two `WebHook-Allowed` headers. Deliveries still need an API key."""
        headers = {"allow": "OPTIONS, POST"}
        origin = request.headers.get("webhook-request-origin", "").strip()
        if origin and len(origin) <= _MAX_CHARS and ("*" in allowed or origin.lower() in allowed):
            headers["webhook-allowed-origin"] = origin
            headers["webhook-allowed-rate"] = str(rate or "*")
        return Response(status_code=200, headers=headers)

    return router
