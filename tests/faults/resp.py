"""Redis's wire protocol (RESP 2): where a message ends, and what it says. No I/O."""

from dataclasses import dataclass

LINE = b"\r\n"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer."""

    text: bytes


Value = bytes | int | Failure | list["Value"] | None


def parse(data: bytes | bytearray, at: int = 0) -> tuple[Value, int] | None:
    """The message that begins at `at` and where it ends; None while its end has not come yet.

    Raises:
        ValueError: not RESP 2.
    """
    end = data.find(LINE, at)
    if end < 0:
        return None
    kind, head, rest = data[at : at + 1], bytes(data[at + 1 : end]), end + len(LINE)
    if kind == b"+":
        return head, rest
    if kind == b"-":
        return Failure(head), rest
    if kind == b":":
        return int(head), rest
    if kind == b"$":
        return _bulk(data, int(head), rest)
    if kind == b"*":
        return _array(data, int(head), rest)
    raise ValueError(f"no RESP message begins with {bytes(kind)!r}")


def _bulk(data: bytes | bytearray, length: int, at: int) -> tuple[bytes | None, int] | None:
    if length < 0:
        return None, at
    end = at + length
    return (bytes(data[at:end]), end + len(LINE)) if len(data) >= end + len(LINE) else None


def _array(data: bytes | bytearray, length: int, at: int) -> tuple[list[Value] | None, int] | None:
    if length < 0:
        return None, at
    values: list[Value] = []
    for _ in range(length):
        if (found := parse(data, at)) is None:
            return None
        value, at = found
        values.append(value)
    return values, at
