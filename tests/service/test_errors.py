"""Promises of the errors."""

from service.errors import InternalError, TastestreamError, problem


def kinds(base: type[TastestreamError] = TastestreamError) -> list[type[TastestreamError]]:
    """Those with their own code, and `InternalError`; to a caller, any other is the one that it is derived from."""
    found = [kind for direct in base.__subclasses__() for kind in (direct, *kinds(direct))]
    return [kind for kind in found if "code" in vars(kind) or kind is InternalError]


def test_every_error_has_its_own_code() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(codes) > 20
    assert len(set(codes)) == len(codes)


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    for kind in kinds():
        body = problem(kind("why", field="f", extensions={"more": 1}))
        assert (
            body.items() >= {"type": "about:blank", "status": kind.status, "detail": "why", "code": kind.code}.items()
        )
        assert body["title"]
        assert (body["field"], body["more"]) == ("f", 1)
