"""Decodes untrusted pictures in separate processes.

A picture of a few bytes may take its decoder seconds or gigabytes, or crash it. Here, each is decoded in a process with
little memory and time, which is replaced if it exceeds them. The processes start with the first picture, decode one
picture after another, and end after a minute without any.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import cast

import service
from service.errors import BadPicture, Overloaded, StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.pictures import base64_text
from service.pictures.decoder_process import ACCEPTED, PICTURE, READY, READY_UNBOUNDED, REQUEST, RESPONSE, TEXT
from service.pictures.reencode import DecodeLimits, ReEncoded
from service.settings.pictures import PictureSettings

log = get_logger(__name__)
_START_S = 60.0
_IDLE_S = 60.0
_RETRY_S = 1.0
_TOO_SLOW = "too_costly: decoding it takes too long"
_HEADROOM = 64 * 1024
"""Bytes that a response may have in addition to four for each pixel."""


class PictureDecoder:
    """Checks and re-encodes pictures, at most `max_concurrent_decodes` at a time."""

    def __init__(self, settings: PictureSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._slots = asyncio.Semaphore(settings.max_concurrent_decodes)
        self._waiting = 0
        self._idle: list[_Child] = []
        self._ending: set[asyncio.Task[int]] = set()
        self._closing_idle: asyncio.TimerHandle | None = None

    async def decode(self, encoded: bytes) -> ReEncoded:
        """Check and re-encode a picture; see `reencode.re_encode`.

        Raises:
            BadPicture: it is not acceptable, or decoding it takes too long, takes too much memory or crashes.
            Overloaded: too many pictures wait already.
            StateUnavailable: no process can be started.
        """
        if len(encoded) > self._settings.max_bytes:
            raise BadPicture(f"too_many_bytes: more than {self._settings.max_bytes}")
        return await self._decode(PICTURE, encoded)

    async def decode_base64(self, text: str) -> ReEncoded:
        """The same for a picture in base64 or in a data URI; raises as `decode`."""
        if len(text) > base64_text.longest(self._settings.max_bytes):
            raise BadPicture(f"too_many_bytes: more than {self._settings.max_bytes}")
        if not text.isascii():
            raise BadPicture("base64: not base64")
        return await self._decode(TEXT, text.encode())

    async def close(self) -> None:
        """End all processes."""
        self._close_idle()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _decode(self, kind: bytes, content: bytes) -> ReEncoded:
        if self._waiting >= self._settings.max_waiting_decodes:
            raise Overloaded("too many pictures wait to be decoded", retry_after_s=_RETRY_S)
        self._waiting += 1
        try:
            async with self._slots:
                return await self._decode_now(kind, content)
        finally:
            self._waiting -= 1

    async def _decode_now(self, kind: bytes, content: bytes) -> ReEncoded:
        child = self._idle.pop() if self._idle else await self._start()
        outcome = "cancelled"
        try:
            async with asyncio.timeout(self._settings.decode_timeout_s):
                response = await child.ask(kind, content)
            outcome = "ok"
        except TimeoutError:
            outcome = "timeout"
            raise BadPicture(_TOO_SLOW) from None
        except _OutOfCpu:
            outcome = "cpu"
            raise BadPicture(_TOO_SLOW) from None
        except _Died:
            outcome = "crash"
            raise BadPicture("damaged: its decoder crashed") from None
        finally:
            if outcome == "ok":
                self._keep_idle(child)
            else:
                self._metrics.picture_decoders_ended.labels(outcome).inc()
                self._end(child)
        if isinstance(response, BadPicture):
            raise response
        return response

    async def _start(self) -> "_Child":
        try:
            child = await _Child.start(self._settings)
        except OSError as error:
            raise _not_started(error) from error
        try:
            async with asyncio.timeout(_START_S):
                bounded = await child.ready()
        except (TimeoutError, _Died) as error:
            self._end(child)
            raise _not_started(error) from error
        except BaseException:
            self._end(child)
            raise
        if not bounded:
            log.warning("picture_memory_unbounded", why="this system does not bound the memory of a process")
        return child

    def _keep_idle(self, child: "_Child") -> None:
        self._idle.append(child)
        if self._closing_idle is not None:
            self._closing_idle.cancel()
        self._closing_idle = asyncio.get_running_loop().call_later(_IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        if self._closing_idle is not None:
            self._closing_idle.cancel()
        while self._idle:
            self._end(self._idle.pop())

    def _end(self, child: "_Child") -> None:
        task = asyncio.ensure_future(child.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Died(Exception):
    """The process ended, or broke the protocol."""


class _OutOfCpu(_Died):
    """The kernel ended the process after `decode_cpu_s`."""


class _Child:
    """One process; see `decoder_process` for the protocol."""

    def __init__(self, process: Process, max_response: int) -> None:
        self._process = process
        self._input = cast("asyncio.StreamWriter", process.stdin)
        self._output = cast("asyncio.StreamReader", process.stdout)
        self._max_response = max_response

    @classmethod
    async def start(cls, settings: PictureSettings) -> "_Child":
        """Start a process; raises OSError if the system refuses."""
        limits = DecodeLimits(settings.max_bytes, settings.max_side, settings.max_pixels, settings.stored_side)
        bounds = {"memory_bytes": settings.decode_memory_bytes, "cpu_s": settings.decode_cpu_s}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "service.pictures.decoder_process",
            json.dumps({"limits": asdict(limits), **bounds}),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=_environment(),
            # Ctrl-C must reach only the gateway, which then ends this process.
            start_new_session=True,
        )
        return cls(process, 4 * settings.stored_side**2 + _HEADROOM)

    async def ready(self) -> bool:
        """Wait until it has started; returns whether its memory is bounded."""
        first = await self._read(1)
        if first not in (READY, READY_UNBOUNDED):
            raise _Died(f"it began with {first!r}")
        return first == READY

    async def ask(self, kind: bytes, content: bytes) -> ReEncoded | BadPicture:
        with suppress(ConnectionError):
            self._input.write(REQUEST.pack(kind, len(content)))
            self._input.write(content)
            await self._input.drain()
        status, note_length, length = RESPONSE.unpack(await self._read(RESPONSE.size))
        if note_length + length > self._max_response:
            raise _Died("its response is longer than any picture")
        note = (await self._read(note_length)).decode(errors="replace")
        picture = await self._read(length)
        return ReEncoded(picture, note or None) if status == ACCEPTED else BadPicture(note)

    async def end(self) -> int:
        with suppress(ProcessLookupError):
            self._process.kill()
        return await self._process.wait()

    async def _read(self, length: int) -> bytes:
        try:
            return await self._output.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            status = await self._process.wait()
            raise (_OutOfCpu if status == -signal.SIGXCPU else _Died)(f"it ended with {status}") from None


def _not_started(error: Exception) -> StateUnavailable:
    log.error("picture_decoder_not_started", error=str(error) or type(error).__name__)
    return StateUnavailable("pictures can't be decoded: no process can be started", retry_after_s=_RETRY_S)


def _environment() -> dict[str, str]:
    """The variables that Python needs to find its packages, without the gateway's secrets."""
    passed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH", "PYTHONHOME") if name in os.environ}
    here = str(Path(service.__path__[0]).parent)
    # Each further arena would reserve address space, which is bounded.
    return {**passed, "PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1", "MALLOC_ARENA_MAX": "1"}
