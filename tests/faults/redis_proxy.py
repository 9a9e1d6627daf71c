"""Stands between a part of the service and Redis, and strikes at a chosen moment of a chosen script.

The service needs no hooks for it: the proxy reads the commands that pass and knows a script by its
digest. Nothing is changed on the way; a strike may hold a message, cut the connection, or end a process.
"""

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from service.settings.state import StateSettings
from tests.faults.backend import scripts
from tests.faults.resp import Failure, Value, parse

REACHED_S = 60.0
Side = Literal["before", "after"]
"""Before a command reaches Redis; after Redis has carried it out, before the answer goes back."""


class Cut(Exception):
    """Raised by a strike: both ends of the connection are closed, the message is lost."""


@dataclass(frozen=True, slots=True)
class Command:
    """`script` is the name of the script that the command runs, or ''; `raw` are its bytes."""

    script: str
    raw: bytes


@dataclass
class Strike:
    """Done once, at the first message that fits; `struck` tells when its action is over."""

    script: str
    side: Side
    about: bytes
    action: Callable[[], Awaitable[None]]
    struck: asyncio.Event = field(default_factory=asyncio.Event)

    async def done(self) -> None:
        """Wait for the strike; fails when it does not come."""
        async with asyncio.timeout(REACHED_S):
            await self.struck.wait()


@dataclass
class Hold:
    """An action that keeps the message until `release`; the connection is not cut."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.reached.set()
        await self.released.wait()

    async def wait(self) -> None:
        """Until the message is here; fails when none comes."""
        async with asyncio.timeout(REACHED_S):
            await self.reached.wait()

    def release(self) -> None:
        self.released.set()


class RedisProxy:
    """A TCP port on loopback in front of a Redis on a Unix socket."""

    def __init__(self, target: Path, settings: StateSettings) -> None:
        self._target = target
        self._scripts = {script.sha.encode(): name for name, script in scripts(settings).items()}
        self._strikes: list[Strike] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self.url = ""

    async def __aenter__(self) -> "RedisProxy":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        assert not self._failures

    def strike(self, script: str, side: Side, action: Callable[[], Awaitable[None]], about: str = "") -> Strike:
        """Do `action` once, at the first run of `script` whose command or answer holds the text `about`."""
        assert script in self._scripts.values(), f"there is no script {script}"
        self._strikes.append(Strike(script, side, about.encode(), action))
        return self._strikes[-1]

    def hold(self, script: str, side: Side, about: str = "") -> Hold:
        """Keep the first such message until it is released."""
        hold = Hold()
        self.strike(script, side, hold, about)
        return hold

    def disarm(self) -> None:
        """Forget strikes that have not come."""
        self._strikes.clear()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            redis_reader, redis_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.close()
            return
        waiting: deque[Command] = deque()
        commands = asyncio.create_task(self._commands(reader, redis_writer, waiting))
        answers = asyncio.create_task(self._answers(redis_reader, writer, waiting))
        ways = [commands, answers]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if commands.done() and commands.exception() is None:
                # The caller has hung up. Redis answers what it was told all the same, and closes then.
                await asyncio.wait({answers})
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, redis_writer):
                end.close()
            self._note(await asyncio.gather(*ways, return_exceptions=True))
            for end in (writer, redis_writer):
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    def _note(self, results: Iterable[BaseException | None]) -> None:
        expected = (Cut, OSError, asyncio.CancelledError)
        self._failures += [error for error in results if error is not None and not isinstance(error, expected)]

    async def _commands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: deque[Command]
    ) -> None:
        buffer = bytearray()
        while data := await reader.read(1 << 16):
            buffer += data
            for value, raw in _messages(buffer):
                command = Command(self._script(value), raw)
                await self._pass("before", command, raw)
                waiting.append(command)
                writer.write(raw)
            await writer.drain()
        writer.write_eof()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: deque[Command]
    ) -> None:
        buffer = bytearray()
        while data := await reader.read(1 << 16):
            buffer += data
            for value, raw in _messages(buffer):
                command = waiting.popleft()
                if not isinstance(value, Failure):
                    await self._pass("after", command, raw)
                writer.write(raw)
            await writer.drain()

    def _script(self, value: Value) -> str:
        if not isinstance(value, list) or len(value) < 2 or not isinstance(value[1], bytes):
            return ""
        if value[0] == b"EVALSHA":
            return self._scripts.get(value[1], "")
        if value[0] == b"EVAL":
            return self._scripts.get(hashlib.sha1(value[1], usedforsecurity=False).hexdigest().encode(), "")
        return ""

    async def _pass(self, side: Side, command: Command, raw: bytes) -> None:
        for strike in self._strikes:
            told = strike.about in raw or strike.about in command.raw
            if strike.side == side and strike.script == command.script and told:
                self._strikes.remove(strike)
                try:
                    await strike.action()
                finally:
                    strike.struck.set()
                return


def _messages(buffer: bytearray) -> list[tuple[Value, bytes]]:
    """Take the complete messages out of `buffer`."""
    found, at = [], 0
    while at < len(buffer) and (message := parse(buffer, at)) is not None:
        found.append((message[0], bytes(buffer[at : message[1]])))
        at = message[1]
    del buffer[:at]
    return found
