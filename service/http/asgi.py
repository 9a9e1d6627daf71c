"""What every middleware needs of a request: one header's value, and a way to refuse it."""

from starlette.types import Receive, Scope, Send

from service.errors import TastestreamError
from service.http.problems import respond

ERROR = "tastestream.error"
"""In the scope: the code of the error that was answered."""
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Answered without an API key."""
CALLER = "tastestream.caller"
"""In the scope: which of the API keys was given, if one was asked for."""


def header(scope: Scope, name: bytes) -> str:
    """The header's first value, or "" if the request has none. `name` is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


async def refuse(error: TastestreamError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with `error`, and note its code for the metrics."""
    scope[ERROR] = error.code
    await respond(error)(scope, receive, send)
