"""The header `Prefer` (RFC 7240)."""

from typing import NamedTuple

from fastapi import Request

from service.http.headers import first_headers

_MOST_CHARS = 1000


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
    for wish in ",".join(request.headers.getlist("prefer"))[:_MOST_CHARS].split(","):
        name, _, value = wish.partition(";")[0].partition("=")
        given.setdefault(name.strip().lower(), value.strip().strip('"').lower())
    returned = {"minimal": True, "representation": False}.get(given.get("return", ""))
    return Preferences(returned, given.get("handling") == "strict")
