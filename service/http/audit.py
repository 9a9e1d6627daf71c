"""Administrative requests are in the audit log, refused ones too."""

from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import audit
from service.errors import InternalError
from service.http.auth import CALLER
from service.http.problems import ERROR

_ACTIONS = {"/users/": "user.erase", "/items/": "item.delete"}
"""What `DELETE` does, by the beginning of the path."""


class Audit:
    """Writes a line for each request that deletes a user or an item, with the name, id and tenant of its key."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "DELETE" or scope["path"][:7] not in _ACTIONS:
            await self.app(scope, receive, send)
            return
        status = 0

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noting_status)
        finally:
            outcome = audit.OK if 200 <= status < 300 else scope.get(ERROR, InternalError.code)
            action, target = _ACTIONS[scope["path"][:7]], audit.pseudonym(unquote_to_bytes(scope["path"][7:]))
            audit.record(action, outcome, target=target, **_who(scope))


def _who(scope: Scope) -> dict[str, object]:
    key = scope.get(CALLER)
    return {"key": key.name, "key_id": key.id, "tenant": key.tenant} if key is not None else {}
