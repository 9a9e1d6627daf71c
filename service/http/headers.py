"""The headers of a request, indexed once for all middlewares, and its preferences (`Prefer`, RFC 7240)."""

from collections.abc import Mapping
from typing import NamedTuple

from fastapi import Request
from starlette.types import Scope

_FIRST = "tastestream.first_headers"
_MOST_PREFER_CHARS = 1000


def header(scope: Scope, name: bytes) -> str:
    """The header's first value, or "" if it is missing. `name` is in lower case."""
    return first_headers(scope).get(name, b"").decode("latin-1")


def first_headers(scope: Scope) -> Mapping[bytes, bytes]:
    """The first value of each header by its name in lower case."""
    found: dict[bytes, bytes] | None = scope.get(_FIRST)
    if found is None:
        found = scope[_FIRST] = dict(reversed(scope["headers"]))
    return found


def with_headers(scope: Scope, headers: list[tuple[bytes, bytes]]) -> Scope:
    """A copy of the scope with other headers."""
    copy = {**scope, "headers": headers}
    copy.pop(_FIRST, None)
    return copy


class Preferences(NamedTuple):
    """`minimal`: whether to send no body, None if not given. `strict`: partial success is an error."""

    minimal: bool | None = None
    strict: bool = False

    def applied(self, *, minimal: bool) -> dict[str, str]:
        """The header that names the preferences that were applied. `minimal`: the response has no body."""
        applied = ["return=minimal"] if minimal and self.minimal else []
        applied += ["handling=strict"] if self.strict else []
        return {"preference-applied": ", ".join(applied)} if applied else {}


NO_PREFERENCES = Preferences()


def preferences(request: Request) -> Preferences:
    """The known preferences. Of contradicting ones, the first applies; unknown ones are ignored."""
    if b"prefer" not in first_headers(request.scope):
        return NO_PREFERENCES
    given: dict[str, str] = {}
    for wish in ",".join(request.headers.getlist("prefer"))[:_MOST_PREFER_CHARS].split(","):
        name, _, value = wish.partition(";")[0].partition("=")
        given.setdefault(name.strip().lower(), value.strip().strip('"').lower())
    returned = {"minimal": True, "representation": False}.get(given.get("return", ""))
    return Preferences(returned, given.get("handling") == "strict")
