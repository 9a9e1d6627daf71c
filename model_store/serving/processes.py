"""Child processes that never outlive their parent."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from model_store.errors import UserError

BACKGROUND_NICENESS = 10
"""Of processes whose work can wait: beside others that want the same CPU they get about a tenth of it."""
_PR_SET_PDEATHSIG = 1
_AUTOGROUP_TRIES, _AUTOGROUP_PAUSE_S = 20, 0.1
logger = logging.getLogger(__name__)


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
        background: its work can wait: the processes that answer requests get the CPU first.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        background: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        self._niceness = BACKGROUND_NICENESS if background else 0
        self._command = command
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=before_program(self._niceness),
            )
        if self._niceness:
            await _lower_session(self._process.pid, self._niceness)

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
        try:
            if self._process.returncode is None:
                self._process.send_signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), grace_s)
        finally:
            # Also when a second Ctrl-C cancels the wait.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


def before_program(niceness: int = 0) -> Callable[[], None]:
    """What a new child is to do before its program: ask Linux for a SIGTERM when its parent ends, and yield to others.

    Args:
        niceness: added to that of the parent.
    """
    # Loaded before the fork, since little is safe between it and the program.
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        os.nice(niceness)

    return prepare


async def _lower_session(pid: int, niceness: int) -> None:
    """Lower the share of a process's session as well: Linux may first divide CPUs among sessions (autogroups)."""
    for _ in range(_AUTOGROUP_TRIES):
        if _lowered(pid, niceness):
            break
        # Without privileges, one such change is allowed in a tenth of a second.
        await asyncio.sleep(_AUTOGROUP_PAUSE_S)


def _lowered(pid: int, niceness: int) -> bool:
    """Whether there is no more to do."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
    except BlockingIOError:
        return False
    except OSError as error:
        logger.debug("the session of process %d keeps its share of the CPUs: %s", pid, error)
    return True


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file, indented for a message."""
    if not log.exists():
        return "    (no log)"
    text = log.read_bytes()[-20_000:].decode(errors="replace")
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
