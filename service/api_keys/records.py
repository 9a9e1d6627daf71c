"""An API key, and the line of the keys file that describes it.

    sha256:HEX name=web tenant=shop scopes=events,recommend created=TIME expires=TIME revoked=TIME

The file has the SHA-256 of a key. A slow hash, as for passwords, would add nothing: a key is 256 random bits, so nobody
finds it by trying keys, however fast; it would only slow down every request.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_urlsafe
from typing import Literal, get_args

from service.names import DEFAULT_TENANT, read_name

Scope = Literal["events", "recommend", "items", "users", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
Caller = tuple[str, str]
"""The tenant and the name of a key."""
ADMIN: Scope = "admin"
"""Includes all other scopes."""
KEY_PREFIX = "tastestream_"
"""Begins every generated key, so that scanners find keys that were published by mistake."""

_KEY_BYTES = 32
_KEY = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_FIELDS = ("name", "tenant", "scopes", "created", "expires", "revoked")
_ID_CHARS = 12


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a key may do. Times are in Unix seconds.

    Args:
        digest: the SHA-256 of the key, 32 bytes.
        name: who uses it. Several keys may have the same name, so that one can replace another without an interruption.
        plain: whether the file has the key itself, as in earlier versions.
    """

    digest: bytes
    name: str
    tenant: str
    scopes: frozenset[Scope]
    created_s: int | None = None
    expires_s: int | None = None
    revoked_s: int | None = None
    plain: bool = False

    @property
    def caller(self) -> Caller:
        """Whose rate and share of a gateway it uses: names of different tenants have nothing in common."""
        return self.tenant, self.name

    @property
    def id(self) -> str:
        """Names the key in lists and logs; nothing about the key follows from it."""
        return self.digest.hex()[:_ID_CHARS]

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or ADMIN in self.scopes

    def expired(self, now_s: float) -> bool:
        return self.expires_s is not None and now_s >= self.expires_s

    def line(self) -> str:
        """The line that says all of a key, except that it is `plain`."""
        times = {"created": self.created_s, "expires": self.expires_s, "revoked": self.revoked_s}
        scopes = ",".join(scope for scope in SCOPES if scope in self.scopes)
        words = [f"sha256:{self.digest.hex()}", f"name={self.name}", f"tenant={self.tenant}", f"scopes={scopes}"]
        return " ".join([*words, *(f"{name}={time_text(at)}" for name, at in times.items() if at is not None)])


def new_key() -> str:
    """A random key."""
    return KEY_PREFIX + token_urlsafe(_KEY_BYTES)


def digest_of(key: str) -> bytes:
    return sha256(key.encode()).digest()


def is_damaged(key: str) -> bool:
    """Whether `key` begins like a generated key but can't be one, for example because its end was not copied."""
    return key.startswith(KEY_PREFIX) and not _KEY.fullmatch(key)


def read_line(text: str, number: int) -> ApiKey:
    """The key that the line `number` of a keys file describes.

    Raises:
        ValueError: what is wrong with it, without any secret.
    """
    first, *rest = text.split()
    if not rest and not first.startswith("sha256:"):
        return ApiKey(digest_of(first), f"line-{number}", DEFAULT_TENANT, frozenset(SCOPES), plain=True)
    hashed = _HASH.fullmatch(first)
    if hashed is None:
        raise ValueError(
            "a line must begin with sha256: and 64 hexadecimal digits, or be one word: a key in plain text"
        )
    fields: dict[str, str] = {}
    for word in rest:
        name, _, value = word.partition("=")
        if name not in _FIELDS:
            raise ValueError(f"{word!r} is none of {', '.join(f'{field}=' for field in _FIELDS)}")
        if name in fields:
            raise ValueError(f"{name}= is given twice")
        fields[name] = value
    for name in ("name", "scopes"):
        if name not in fields:
            raise ValueError(f"{name}= is missing")
    times = {name: read_time(fields[name]) if name in fields else None for name in ("created", "expires", "revoked")}
    return ApiKey(
        bytes.fromhex(hashed[1]),
        read_name(fields["name"]),
        read_name(fields.get("tenant", DEFAULT_TENANT)),
        read_scopes(fields["scopes"].split(",")),
        times["created"],
        times["expires"],
        times["revoked"],
    )


def read_scopes(names: list[str]) -> frozenset[Scope]:
    """The scopes. Raises ValueError if one is unknown."""
    for name in names:
        if name not in SCOPES:
            raise ValueError(f"unknown scope {name!r}; the scopes are {', '.join(SCOPES)}")
    return frozenset(scope for scope in SCOPES if scope in names)


def read_time(text: str) -> int:
    """The Unix seconds of an RFC 3339 time. Raises ValueError if it is not one."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"{text!r} is not a time such as 2027-01-31T00:00:00Z")
    return int(time.timestamp())


def time_text(at_s: int) -> str:
    """The inverse of `read_time`."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
