"""Every error that a caller can receive: one class, one status, one `code`, one metric label.

The response is an RFC 9457 problem, see `problem`. Errors with status 429, 503 and 504 carry `Retry-After`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class TastestreamError(Exception):
    """Base class: `status` and `code` belong to the class, `detail` to the occurrence.

    Args:
        detail: what happened, for people; programs use `code`.
        field: the field of the request that is wrong.
        extensions: more members of the problem body, such as the rejected events.
        public_detail: replaces `detail` in the response if `detail` is only for the log.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        extensions: Mapping[str, Any] | None = None,
        public_detail: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s
        self.extensions = extensions or {}
        self.public_detail = public_detail or detail


class InvalidRequest(TastestreamError):
    status, code, title = 422, "invalid_request", "Invalid request"  # a field is wrong; `field` names it


class InvalidFilter(TastestreamError):
    status, code, title = 422, "invalid_filter", "Invalid filter"  # not an expression; `position` says where


class MalformedRequest(TastestreamError):
    status, code, title = 400, "malformed_request", "Malformed request"  # not HTTP/1.1; connection closed


class MalformedBody(TastestreamError):
    status, code, title = 400, "malformed_body", "Malformed body"  # not JSON or NDJSON


class UnsupportedMedia(TastestreamError):
    status, code, title = 415, "unsupported_media", "Unsupported media type"  # content type or charset not understood


class HeadersTimeout(TastestreamError):
    status, code, title = 408, "headers_timeout", "Headers timeout"  # head begun but not finished; connection closed


class HeadersTooLarge(TastestreamError):
    status, code, title = 431, "headers_too_large", "Headers too large"  # connection closed


class BodyTimeout(TastestreamError):
    status, code, title = 408, "body_timeout", "Body timeout"


class BodyTooLarge(TastestreamError):
    status, code, title = 413, "body_too_large", "Body too large"


class BatchTooLarge(TastestreamError):
    status, code, title = 413, "batch_too_large", "Batch too large"  # more events or items than a batch may hold


class LineTooLong(TastestreamError):
    status, code, title = 413, "line_too_long", "Line too long"  # one line of an NDJSON stream; the others are read


class Unauthorized(TastestreamError):
    """The request has no key that is in force."""

    status = 401
    challenge: ClassVar[str] = 'Bearer error="invalid_token"'
    """`WWW-Authenticate`, RFC 6750 section 3."""


class KeyMissing(Unauthorized):
    code, title, challenge = "key_missing", "API key missing", "Bearer"


class KeyMalformed(Unauthorized):
    code, title = "key_malformed", "API key malformed"  # not a bearer token, or not all of a generated key


class KeyUnknown(Unauthorized):
    code, title = "key_unknown", "API key unknown"


class KeyExpired(Unauthorized):
    code, title = "key_expired", "API key expired"


class KeyRevoked(Unauthorized):
    code, title = "key_revoked", "API key revoked"


class ScopeMissing(TastestreamError):
    status, code, title = 403, "scope_missing", "Scope missing"  # `scope` names it


class UntrustedHost(TastestreamError):
    status, code, title = 421, "untrusted_host", "Untrusted host"  # `Host` is none of the gateway's names


class NotFound(TastestreamError):
    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(TastestreamError):
    status, code, title = 405, "method_not_allowed", "Method not allowed"


class ItemNotFound(TastestreamError):
    status, code, title = 404, "item_not_found", "Item not found"


class PageExpired(TastestreamError):
    status, code, title = 410, "page_expired", "Page expired"  # `after` names no remembered recommendation of the user


class BadPicture(TastestreamError):
    status, code, title = 422, "bad_picture", "Bad picture"  # `detail` has the reason


class UserDeleted(TastestreamError):
    status, code, title = 409, "user_deleted", "User deleted"  # the event was received before its user's deletion


class ClientClosedRequest(TastestreamError):
    status, code, title = 499, "client_closed_request", "Client closed request"  # only metrics and logs show it


class Overloaded(TastestreamError):
    status, code, title = 429, "overloaded", "Too many requests"  # too many requests, connections or events


class RateLimited(TastestreamError):
    status, code, title = 429, "rate_limited", "Rate limited"  # more requests per second than a key may send


class BacklogFull(TastestreamError):
    status, code, title = 429, "backlog_full", "Backlog full"


class StateUnavailable(TastestreamError):
    status, code, title = 503, "state_unavailable", "State unavailable"  # Redis or picture folder down, full, read-only


class NotReady(TastestreamError):
    status, code, title = 503, "not_ready", "Not ready"


class DeadlineExceeded(TastestreamError):
    status, code, title = 504, "deadline_exceeded", "Deadline exceeded"  # the caller's own deadline was too short


class InternalError(TastestreamError):
    """Anything unforeseen; only the log has details."""


def codes() -> list[str]:
    """The code of every error, in alphabetical order."""
    found, classes = set(), [TastestreamError]
    while classes:
        found.add((error := classes.pop()).code)
        classes += error.__subclasses__()
    return sorted(found)


def problem(error: TastestreamError) -> dict[str, Any]:
    """The RFC 9457 body of `error`."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.public_detail,
    }
    if error.field is not None:
        body["field"] = error.field
    return {**body, **error.extensions}
