"""Child processes that never outlive their parent."""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_store.errors import UserError

_PR_SET_PDEATHSIG = 1


class ChildFailed(UserError):
    """A child could not be started, or ended unexpectedly; the message contains its last log lines."""


class Child:
    """One process in a separate session, which writes its output to a log file.

    A Ctrl-C at the terminal therefore reaches only the parent, which stops its children in
    order. If the parent is killed, the kernel sends the child SIGTERM.

    Args:
        name: its name in messages.
        command: the program and its arguments.
        environment: variables in addition to the parent's.
        log: the file for stdout and stderr; it is replaced at each start.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        libc = ctypes.CDLL(None)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
            )

    @property
    def pid(self) -> int:
        """The process id, of a process that was started."""
        assert self._process is not None, "not started"  # noqa: S101
        return self._process.pid

    def ended(self) -> bool:
        """Whether the process was started and has ended."""
        return self._process is not None and self._process.returncode is not None

    def check(self) -> None:
        """Raise `ChildFailed` if the process has ended."""
        if self.ended():
            raise ChildFailed(self.exit_report())

    def exit_report(self) -> str:
        """How the process ended, with the last lines of its log."""
        return f"{self.name} {self._end()}. Its log, {self.log}, ends with:\n{tail(self.log)}"

    def _end(self) -> str:
        status = self._process.returncode if self._process else None
        if status is None or status >= 0:
            return f"ended with status {status}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name} (status {status})"
        return f"was killed by signal {-status}"

    async def stop(self, grace_s: float = 10.0) -> None:
        """Ask the process to end; after `grace_s` seconds kill it and the processes that it started."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file, indented for a message."""
    if not log.exists():
        return "    (no log)"
    text = log.read_bytes()[-20_000:].decode(errors="replace")
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
