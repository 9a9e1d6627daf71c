"""The process that decodes untrusted pictures: with little memory, little time, no files and no secrets.

`decoder` starts it and communicates over its standard input and output:

| message | bytes |
| --- | --- |
| ready | `R`, or `r` where the memory can't be bounded |
| request | kind (`p` picture, `t` base64 text), length (4 bytes, big-endian), content |
| response | `+` or `-`, length of the note, length of the content (4 bytes each), note, content |

The note of `+` is a warning or empty, that of `-` says why the picture is refused. The process ends with its input.
"""

import contextlib
import json
import math
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import BinaryIO

from service.errors import BadPicture
from service.pictures.base64_text import decode_base64
from service.pictures.reencode import DecodeLimits, re_encode

PICTURE, TEXT = b"p", b"t"
READY, READY_UNBOUNDED = b"R", b"r"
ACCEPTED, REFUSED = b"+", b"-"
REQUEST = struct.Struct(">cI")
RESPONSE = struct.Struct(">cII")
_NICENESS = 5
_DEFAULT_ADDRESS_SPACE = 256 * 2**20


def main(settings_json: str) -> None:
    """Decode pictures until the input ends.

    Args:
        settings_json: `limits` with the fields of `DecodeLimits`, and `memory_bytes` and `cpu_s` for one picture.
    """
    settings = json.loads(settings_json)
    limits = DecodeLimits(**settings["limits"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = _private_streams()
    sink.write(READY if _confine(settings["memory_bytes"]) else READY_UNBOUNDED)
    sink.flush()
    while head := source.read(REQUEST.size):
        kind, length = REQUEST.unpack(head)
        content = source.read(length)
        _allow_cpu(settings["cpu_s"])
        status, note, picture = _decode(kind, content, limits)
        sink.write(RESPONSE.pack(status, len(note), len(picture)) + note + picture)
        sink.flush()


def _decode(kind: bytes, content: bytes, limits: DecodeLimits) -> tuple[bytes, bytes, bytes]:
    try:
        encoded = decode_base64(content, limits.max_bytes) if kind == TEXT else content
        picture = re_encode(encoded, limits)
    except BadPicture as error:
        return REFUSED, error.detail.encode(), b""
    except MemoryError:
        return REFUSED, b"too_costly: decoding it takes too much memory", b""
    return ACCEPTED, (picture.warning or "").encode(), picture.content


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output under new descriptors, which no library can write a warning to."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    return source, sink


def _confine(memory_bytes: int) -> bool:
    """Give up what decoding does not need; returns whether the memory is bounded."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        # If memory runs out, the kernel kills this process before its gateway.
        Path("/proc/self/oom_score_adj").write_text("1000")
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_FSIZE, 0)
    bounded = _bound(resource.RLIMIT_AS, _address_space() + memory_bytes)
    # From now on, it can open neither sockets nor files, such as its gateway's environment in /proc.
    _bound(resource.RLIMIT_NOFILE, 0)
    return bounded


def _bound(what: int, limit: int) -> bool:
    bounded = _below_hard(what, limit)
    try:
        resource.setrlimit(what, (bounded, bounded))
    except (OSError, ValueError):
        return False
    return True


def _below_hard(what: int, limit: int) -> int:
    _, hard = resource.getrlimit(what)
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def _address_space() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return _DEFAULT_ADDRESS_SPACE
    return pages * resource.getpagesize()


def _allow_cpu(seconds: float) -> None:
    """Let the kernel kill this process if the next picture takes more; in whole seconds, rounded up."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = _below_hard(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


if __name__ == "__main__":
    main(sys.argv[1])
