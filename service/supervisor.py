"""The parent of a gateway's processes: it starts them, replaces those that end or hang, and stops them.

Every process listens by itself on the same port (SO_REUSEPORT), and the kernel spreads connections evenly over them.
The parent only keeps the port: it is bound, but never listens, so that no connection waits for a process that is gone.
"""

import asyncio
import os
import random
import signal
import socket
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from model_store.errors import UserError
from model_store.serving.processes import before_program
from service.logs import get_logger

START_S = 60.0
SILENT_S = 30
"""A process that serves gives a sign of life every second. One that has given none for so long is ended."""
DRAIN_S = 15.0
"""The processes themselves stop waiting for requests in progress earlier."""
_RETRY_INITIAL_S = 0.5
_RETRY_MAX_S = 15.0
_MOST_FAILURES = 8
log = get_logger(__name__)

Command = Callable[[int, int, Path], Sequence[str]]
"""The command of a process: its number, the file descriptor for its signs of life, and the folder of the series."""


class ProcessFailed(UserError):
    """A process did not start. `status` is its exit status; what was wrong, it has said itself."""

    def __init__(self, number: int, status: int) -> None:
        super().__init__(f"process {number} of the gateway did not start (status {status})")
        self.status = status


def bound(host: str, port: int) -> list[socket.socket]:
    """Sockets that share the port with other processes, one for each address of `host`. They do not listen yet.

    Raises:
        OSError: the port is not free, or there is no such address.
    """
    with ExitStack() as on_error:
        sockets: list[socket.socket] = []
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            one = on_error.enter_context(socket.socket(family, kind, protocol))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Of port 0, all addresses get the one that the first was given.
            one.bind((address[0], sockets[0].getsockname()[1] if sockets else port, *address[2:]))
            sockets.append(one)
        on_error.pop_all()
    return sockets


class Supervisor:
    """Keeps `number` processes running, which must end by SIGTERM."""

    def __init__(self, number: int, command: Command) -> None:
        self._number = number
        self._command = command
        self._stop = asyncio.Event()
        self._running: dict[int, _Process] = {}

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then drain the processes.

        Raises:
            ProcessFailed: one of them can't be started at first, or none can later.
        """
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        with tempfile.TemporaryDirectory(prefix="tastestream-metrics-", ignore_cleanup_errors=True) as folder:
            supervising = asyncio.create_task(self._supervise(Path(folder)))
            stopped = asyncio.create_task(self._stop.wait())
            try:
                await asyncio.wait({supervising, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopped.cancel()
                supervising.cancel()
                await asyncio.wait({supervising})
                await asyncio.gather(*(process.end() for process in self._running.values()))
            if not supervising.cancelled():
                supervising.result()

    async def _supervise(self, folder: Path) -> None:
        # The first one alone: what is wrong for one is wrong for all of them, and should be said once.
        await self._start(0, folder)
        await _all(self._start(number, folder) for number in range(1, self._number))
        log.info("processes_started", number=self._number)
        await _all(self._keep(number, folder) for number in range(self._number))

    async def _start(self, number: int, folder: Path) -> None:
        process = await _Process.start(number, self._command, folder)
        self._running[number] = process
        if not await process.ready():
            status = await process.end()
            del self._running[number]
            raise ProcessFailed(number, status)

    async def _keep(self, number: int, folder: Path) -> None:
        """Replace the process whenever it has ended."""
        failures = 0
        while True:
            if number in self._running:
                status = await self._running[number].watched()
                del self._running[number]
                failures = 0
                log.error("process_ended", number=number, status=status)
            mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]
            await asyncio.sleep(min(_RETRY_MAX_S, _RETRY_INITIAL_S * 2**failures) * random.uniform(0.5, 1.0))
            try:
                await self._start(number, folder)
                log.info("process_replaced", number=number)
            except ProcessFailed as failure:
                failures += 1
                log.error("process_not_started", number=number, status=failure.status, failures=failures)
                if failures >= _MOST_FAILURES and not self._running:
                    raise


async def _all(work: Iterable[Coroutine[None, None, None]]) -> None:
    """Do it all at the same time; the first failure ends the rest."""
    first: ProcessFailed | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            for one in work:
                tasks.create_task(one)
    except* ProcessFailed as failures:
        first = next(one for one in failures.exceptions if isinstance(one, ProcessFailed))
    # Not raised above: Python 3.11.2 would put it into a group.
    if first is not None:
        raise first


class _Process:
    def __init__(self, process: asyncio.subprocess.Process, alive: int) -> None:
        self._process = process
        self._alive = alive
        self._silent_s = 0
        self._ready = asyncio.Event()
        asyncio.get_running_loop().add_reader(alive, self._hear)

    @classmethod
    async def start(cls, number: int, command: Command, folder: Path) -> "_Process":
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            process = await asyncio.create_subprocess_exec(
                *command(number, writer, folder),
                pass_fds=(writer,),
                preexec_fn=before_program(),
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return cls(process, reader)

    async def ready(self) -> bool:
        """Whether it has begun to serve; False if it has ended, or does not come up."""
        ended = asyncio.create_task(self._process.wait())
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ended, ready}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            ready.cancel()
        return self._ready.is_set()

    async def watched(self) -> int:
        """Wait for its end and return its status. If it gives no sign of life, it is killed."""
        ended = asyncio.create_task(self._process.wait())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=1.0)
                # Counted, not measured: while this process or the whole machine is suspended, nobody can give a sign.
                self._silent_s += 1
                if self._silent_s > SILENT_S:
                    log.error("process_hangs", pid=self._process.pid, silent_s=SILENT_S)
                    self._silent_s = 0
                    self._process.kill()
        finally:
            ended.cancel()
        return await self.end()

    async def end(self) -> int:
        """Let it finish its requests, or kill it if that takes too long. Returns its status."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self._process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    self._process.kill()
        if self._alive >= 0:
            asyncio.get_running_loop().remove_reader(self._alive)
            os.close(self._alive)
            self._alive = -1
        return await self._process.wait()

    def _hear(self) -> None:
        if os.read(self._alive, 4096):
            self._silent_s = 0
            self._ready.set()
        else:
            # It has ended, and its end is awaited elsewhere.
            asyncio.get_running_loop().remove_reader(self._alive)
