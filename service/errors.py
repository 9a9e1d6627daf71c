"""Every error that a caller can meet: one class, one status, one `code`, one metric label.

    TastestreamError
    ├── InvalidRequest      422  invalid_request       a field is wrong; `field` names it
    ├── MalformedRequest    400  malformed_request     not HTTP/1.1; the connection is closed
    ├── MalformedBody       400  malformed_body        not JSON / not NDJSON
    ├── UnsupportedMedia    415  unsupported_media     content type not understood
    ├── HeadersTimeout      408  headers_timeout       a request begun and not gone on with; the connection is closed
    ├── HeadersTooLarge     431  headers_too_large     the connection is closed
    ├── BodyTimeout         408  body_timeout          the body did not arrive in time
    ├── BodyTooLarge        413  body_too_large
    ├── BatchTooLarge       413  batch_too_large       more events or items than a batch may hold
    ├── LineTooLong         413  line_too_long         one line of an NDJSON stream; the others are read
    ├── Unauthorized        401  unauthorized
    ├── UntrustedHost       421  untrusted_host        `Host` is none of the gateway's names
    ├── NotFound            404  not_found
    ├── MethodNotAllowed    405  method_not_allowed
    ├── ItemNotFound        404  item_not_found
    ├── BadPicture          422  bad_picture           reason in the detail
    ├── UserDeleted         409  user_deleted          an event that was received before its user's deletion
    ├── ClientClosedRequest 499  client_closed_request the caller left before the answer; nobody reads this one
    ├── Overloaded          429  overloaded            + Retry-After: too many requests, connections or events
    ├── BacklogFull         429  backlog_full          + Retry-After
    ├── StateUnavailable    503  state_unavailable     + Retry-After: Redis or picture folder down, full, read-only
    ├── NotReady            503  not_ready             + Retry-After
    ├── DeadlineExceeded    504  deadline_exceeded     + Retry-After: the caller's own deadline was too short
    └── InternalError       500  internal_error        anything not foreseen; details only in the log

The answer is RFC 9457 `application/problem+json` (see `problem`).
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class TastestreamError(Exception):
    """Base: `status` and `code` belong to the class, `detail` to the occurrence.

    Args:
        detail: what happened. It is for people; callers that need to decide use `code`.
        field: the field of the request that is wrong.
        extensions: further members of the problem body, such as the rejected events.
        public_detail: replaces `detail` in the answer if `detail` is only for the log.
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
    status, code, title = 422, "invalid_request", "Invalid request"


class MalformedRequest(TastestreamError):
    status, code, title = 400, "malformed_request", "Malformed request"


class MalformedBody(TastestreamError):
    status, code, title = 400, "malformed_body", "Malformed body"


class UnsupportedMedia(TastestreamError):
    status, code, title = 415, "unsupported_media", "Unsupported media type"


class HeadersTimeout(TastestreamError):
    status, code, title = 408, "headers_timeout", "Headers timeout"


class HeadersTooLarge(TastestreamError):
    status, code, title = 431, "headers_too_large", "Headers too large"


class BodyTimeout(TastestreamError):
    status, code, title = 408, "body_timeout", "Body timeout"


class BodyTooLarge(TastestreamError):
    status, code, title = 413, "body_too_large", "Body too large"


class BatchTooLarge(TastestreamError):
    status, code, title = 413, "batch_too_large", "Batch too large"


class LineTooLong(TastestreamError):
    status, code, title = 413, "line_too_long", "Line too long"


class Unauthorized(TastestreamError):
    status, code, title = 401, "unauthorized", "Unauthorized"


class UntrustedHost(TastestreamError):
    status, code, title = 421, "untrusted_host", "Untrusted host"


class NotFound(TastestreamError):
    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(TastestreamError):
    status, code, title = 405, "method_not_allowed", "Method not allowed"


class ItemNotFound(TastestreamError):
    status, code, title = 404, "item_not_found", "Item not found"


class BadPicture(TastestreamError):
    status, code, title = 422, "bad_picture", "Bad picture"


class UserDeleted(TastestreamError):
    status, code, title = 409, "user_deleted", "User deleted"


class ClientClosedRequest(TastestreamError):
    status, code, title = 499, "client_closed_request", "Client closed request"


class Overloaded(TastestreamError):
    status, code, title = 429, "overloaded", "Too many requests"


class BacklogFull(TastestreamError):
    status, code, title = 429, "backlog_full", "Backlog full"


class StateUnavailable(TastestreamError):
    status, code, title = 503, "state_unavailable", "State unavailable"


class NotReady(TastestreamError):
    status, code, title = 503, "not_ready", "Not ready"


class DeadlineExceeded(TastestreamError):
    status, code, title = 504, "deadline_exceeded", "Deadline exceeded"


class InternalError(TastestreamError):
    pass


def problem(error: TastestreamError) -> dict[str, Any]:
    """The RFC 9457 body of `error`; `code` is stable, its `detail` is for people."""
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
