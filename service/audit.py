"""The audit log: who did which administrative work, on what, and how it ended.

Its lines have the module `audit`. Ids of users and items are in it only as digests: the log outlives a deleted user,
and whoever knows an id can still find its lines.
"""

from hashlib import sha256

from service.logs import get_logger

MODULE = "audit"
OK = "ok"
"""The outcome of what was done; other outcomes are error codes."""
_DIGEST_CHARS = 16


def record(action: str, outcome: str, **fields: object) -> None:
    """Write one line.

    Args:
        action: what was done, such as `user.erase`.
        outcome: `OK`, or an error code.
        fields: who did it, and on what.
    """
    get_logger(MODULE).info(action, outcome=outcome, **fields)


def pseudonym(id_: str | bytes) -> str:
    """The first 64 bits of the SHA-256 of an id, in hexadecimal: `printf %s ID | sha256sum | cut -c1-16`."""
    return sha256(id_ if isinstance(id_, bytes) else id_.encode()).hexdigest()[:_DIGEST_CHARS]
