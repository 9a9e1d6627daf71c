"""Promises of the error table."""

import service.errors
from service.errors import InternalError, TastestreamError, problem


def kinds(base: type[TastestreamError] = TastestreamError) -> list[type[TastestreamError]]:
    """Those with a code of their own, and `InternalError`; to a caller any other is the one that it is derived from."""
    found = [kind for direct in base.__subclasses__() for kind in (direct, *kinds(direct))]
    return [kind for kind in found if "code" in vars(kind) or kind is InternalError]


def test_every_error_has_a_code_and_a_place_in_the_drawing() -> None:
    drawing = service.errors.__doc__ or ""
    for kind in kinds():
        (line,) = [line for line in drawing.splitlines() if f" {kind.__name__} " in line]
        assert f" {kind.status} " in line
        assert kind.code in line.split()
    assert len({kind.code for kind in kinds()}) == len(kinds())


def test_a_problem_says_what_rfc_9457_asks_for() -> None:
    for kind in kinds():
        body = problem(kind("why", field="f", extensions={"more": 1}))
        assert (
            body.items() >= {"type": "about:blank", "status": kind.status, "detail": "why", "code": kind.code}.items()
        )
        assert body["title"]
        assert (body["field"], body["more"]) == ("f", 1)
