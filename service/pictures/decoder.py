"""Decoding strangers' pictures in other processes, so that no picture costs more than itself.

A picture of a few bytes may want seconds or gigabytes of its decoder, or crash it. Here it gets a process with little
memory and time, which is replaced when it does not keep to them. The processes start with the first picture, serve
one after the other, and end when there were none for a while.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import cast

import service
from service.errors import BadPicture, Overloaded, StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.pictures import base64_text
from service.pictures.decoder_process import ACCEPTED, ANSWER, PICTURE, QUESTION, READY, READY_UNBOUNDED, TEXT
from service.pictures.reencode import DecodeLimits, ReEncoded
from service.settings import PictureSettings

log = get_logger(__name__)
_START_S = 60.0
_IDLE_S = 60.0
_RETRY_S = 1.0
_TOO_SLOW = "too_costly: decoding it takes too long"
_HEADROOM = 64 * 1024
"""Bytes that an answer may have beside four for each pixel."""


class PictureDecoder:
    """Makes of any picture the one that is stored, at most `max_concurrent_decodes` at a time.

    Args:
        settings: the bounds of one picture, and of all that are decoded or wait for it.
    """

    def __init__(self, settings: PictureSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._slots = asyncio.Semaphore(settings.max_concurrent_decodes)
        self._waiting = 0
        self._idle: list[_Child] = []
        self._ending: set[asyncio.Task[int]] = set()
        self._closing_idle: asyncio.TimerHandle | None = None

    async def decode(self, encoded: bytes) -> ReEncoded:
        """Check a picture and encode it again; see `reencode.re_encode`.

        Raises:
            BadPicture: it is not acceptable, or decoding it takes too long, too much memory or crashes.
            Overloaded: too many wait already.
            StateUnavailable: no process can be started.
        """
        if len(encoded) > self._settings.max_bytes:
            raise BadPicture(f"too_many_bytes: more than {self._settings.max_bytes}")
        return await self._queued(PICTURE, encoded)

    async def decode_base64(self, text: str) -> ReEncoded:
        """The same for a picture in base64, or in a data URI.

        Raises:
            BadPicture, Overloaded, StateUnavailable: as `decode`.
        """
        if len(text) > base64_text.longest(self._settings.max_bytes):
            raise BadPicture(f"too_many_bytes: more than {self._settings.max_bytes}")
        if not text.isascii():
            raise BadPicture("base64: not base64")
        return await self._queued(TEXT, text.encode())

    async def close(self) -> None:
        """End all processes."""
        self._close_idle()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _queued(self, kind: bytes, content: bytes) -> ReEncoded:
        if self._waiting >= self._settings.max_waiting_decodes:
            raise Overloaded("too many pictures wait to be decoded", retry_after_s=_RETRY_S)
        self._waiting += 1
        try:
            async with self._slots:
                return await self._asked(kind, content)
        finally:
            self._waiting -= 1

    async def _asked(self, kind: bytes, content: bytes) -> ReEncoded:
        child = self._idle.pop() if self._idle else await self._start()
        outcome = "cancelled"
        try:
            async with asyncio.timeout(self._settings.decode_timeout_s):
                answer = await child.ask(kind, content)
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
                self._rest(child)
            else:
                self._metrics.picture_decoders_ended.labels(outcome).inc()
                self._end(child)
        if isinstance(answer, BadPicture):
            raise answer
        return answer

    async def _start(self) -> "_Child":
        try:
            child = await _Child.start(self._settings)
        except OSError as error:
            raise _not_started(error) from error
        try:
            async with asyncio.timeout(_START_S):
                bounded = await child.hello()
        except (TimeoutError, _Died) as error:
            self._end(child)
            raise _not_started(error) from error
        except BaseException:
            self._end(child)
            raise
        if not bounded:
            log.warning("picture_memory_unbounded", why="this system does not bound the memory of a process")
        return child

    def _rest(self, child: "_Child") -> None:
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
    """The process is gone, or says what it never should."""


class _OutOfCpu(_Died):
    """The kernel ended the process after `decode_cpu_s`."""


class _Child:
    """One process; see `decoder_process` for what is said."""

    def __init__(self, process: Process, longest_answer: int) -> None:
        self._process = process
        self._input = cast("asyncio.StreamWriter", process.stdin)
        self._output = cast("asyncio.StreamReader", process.stdout)
        self._longest_answer = longest_answer

    @classmethod
    async def start(cls, settings: PictureSettings) -> "_Child":
        """
        Raises:
            OSError: the system starts no more processes.
        """
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
            # Ctrl-C is for the gateway, which then ends this one.
            start_new_session=True,
        )
        return cls(process, 4 * settings.stored_side**2 + _HEADROOM)

    async def hello(self) -> bool:
        """Whether its memory is bounded."""
        said = await self._read(1)
        if said not in (READY, READY_UNBOUNDED):
            raise _Died(f"it began with {said!r}")
        return said == READY

    async def ask(self, kind: bytes, content: bytes) -> ReEncoded | BadPicture:
        with suppress(ConnectionError):
            self._input.write(QUESTION.pack(kind, len(content)))
            self._input.write(content)
            await self._input.drain()
        status, note_length, length = ANSWER.unpack(await self._read(ANSWER.size))
        if note_length + length > self._longest_answer:
            raise _Died("its answer is longer than any picture")
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


def _environment() -> Mapping[str, str]:
    """What it takes to find Python's packages, and none of the gateway's secrets."""
    passed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH", "PYTHONHOME") if name in os.environ}
    here = str(Path(service.__path__[0]).parent)
    # One arena: each further one reserves address space that the picture may not use then.
    return {**passed, "PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1", "MALLOC_ARENA_MAX": "1"}
