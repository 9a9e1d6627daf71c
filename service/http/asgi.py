"""What every middleware needs of a request: the names that they share in its scope, and a way to refuse it."""

from starlette.types import Receive, Scope, Send

from service.errors import TastestreamError
from service.http.problems import respond

ERROR = "tastestream.error"
"""In the scope: the code of the error that was answered."""
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Answered without an API key."""
CALLER = "tastestream.caller"
"""In the scope: which of the API keys was given, if one was asked for."""


async def refuse(error: TastestreamError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with `error`, and note its code for the metrics."""
    scope[ERROR] = error.code
    await respond(error)(scope, receive, send)
