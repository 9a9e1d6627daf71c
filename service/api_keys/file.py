"""The file of API keys. It only grows: a line adds a key, and a later line of the same key revokes it.

Without replacing the file, since a container that has the file itself mounted would go on reading the old one.
"""

import fcntl
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from model_store.errors import UserError
from service.api_keys.records import ApiKey, read_line

MAX_BYTES = 1024 * 1024


def read_keys(file: Path) -> list[ApiKey]:
    """The keys in `file`, of any tenant; blank lines and lines that begin with # are ignored.

    Raises:
        UserError: see `parse_keys`.
        OSError: the file can't be read.
    """
    return parse_keys(read_content(file), file)


def read_content(file: Path) -> bytes:
    """The bytes of `file`, up to one more than `MAX_BYTES`."""
    with file.open("rb") as opened:
        return opened.read(MAX_BYTES + 1)


def parse_keys(content: bytes, file: Path, tenants: Collection[str] | None = None) -> list[ApiKey]:
    """The keys of a file, revoked and expired ones too.

    Args:
        tenants: those that exist; None if they don't matter.

    Raises:
        UserError: a line is wrong (it is named by its number), two lines have the same key, a key that is not revoked
            belongs to a tenant that does not exist, or there are no keys.
    """
    if len(content) > MAX_BYTES:
        raise UserError(f"{file} is larger than {MAX_BYTES:,} bytes")
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8: {error.reason} at byte {error.start}") from None
    found: dict[bytes, tuple[int, ApiKey]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            key = read_line(line, number)
        except ValueError as error:
            raise UserError(f"{file}, line {number}: {error}") from None
        if key.digest in found and key.revoked_s is None:
            raise UserError(f"{file}, line {number}: the same key as in line {found[key.digest][0]}")
        found[key.digest] = (number, key)
    if not found:
        raise UserError(f"{file} contains no API key; `tastestream keys create` adds one")
    if tenants is not None:
        _require_tenants(found.values(), file, tenants)
    return [key for _, key in found.values()]


def add_key(file: Path, key: ApiKey) -> None:
    """Append a key. A new file is readable only by its owner.

    Raises:
        UserError: a line of the file is wrong.
        OSError: the file can't be read or written.
    """
    with _locked(file):
        _append(file, [key])


def revoke_keys(file: Path, chosen: Callable[[ApiKey], bool]) -> list[ApiKey]:
    """Revoke the chosen keys that are not revoked, and return them.

    Raises:
        UserError: a line of the file is wrong.
        OSError: the file can't be read or written.
    """
    now_s = int(time.time())
    with _locked(file):
        keys = [key for key in read_keys(file) if key.revoked_s is None and chosen(key)]
        revoked = [replace(key, revoked_s=now_s, plain=False) for key in keys]
        _append(file, revoked)
    return revoked


def _append(file: Path, keys: Iterable[ApiKey]) -> None:
    content = read_content(file) if file.exists() else b""
    separator = b"" if not content or content.endswith(b"\n") else b"\n"
    addition = separator + b"".join(f"{key.line()}\n".encode() for key in keys)
    parse_keys(content + addition, file)
    # One write, so that a gateway never reads half a line.
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, addition)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def no_such_tenant(name: str) -> str:
    """What to do about a tenant that does not exist."""
    return f"the tenant {name!r} does not exist: declare [tenants.{name}] in the settings"


def _require_tenants(lines: Iterable[tuple[int, ApiKey]], file: Path, tenants: Collection[str]) -> None:
    for number, key in lines:
        if key.revoked_s is None and key.tenant not in tenants:
            raise UserError(f"{file}, line {number}: {no_such_tenant(key.tenant)}")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Exclude other commands that change a file in this folder."""
    descriptor = os.open(file.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
