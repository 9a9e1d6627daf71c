"""The headers of a request, indexed once for all middlewares."""

from collections.abc import Mapping

from starlette.types import Scope

_FIRST = "tastestream.first_headers"


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
