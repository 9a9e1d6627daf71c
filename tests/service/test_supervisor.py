"""The parent of several processes, with processes that misbehave."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service import supervisor
from service.supervisor import ProcessFailed, Supervisor, bound

BEAT = "import os, sys, time; alive = int(sys.argv[2]); once = lambda: os.write(alive, b'.')"
SECONDS = 60.0


class Script:
    """The command of processes that run `lines`; in them, `number` is theirs and `folder` one that they share."""

    def __init__(self, lines: str, folder: Path) -> None:
        self._lines = lines
        self.folder = folder

    def __call__(self, number: int, alive: int, _: Path) -> Sequence[str]:
        source = f"{BEAT}\nnumber, folder = int(sys.argv[1]), sys.argv[3]\n{self._lines}"
        return [sys.executable, "-c", source, str(number), str(alive), str(self.folder)]

    def said(self) -> list[str]:
        return sorted(file.name for file in self.folder.iterdir())

    def pids(self) -> list[int]:
        return [int(name.partition("-")[2]) for name in self.said()]


SERVE = """
while True:
    once()
    time.sleep(0.05)
"""
SAY = "open(os.path.join(folder, f'{number}-{os.getpid()}'), 'w').close()\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_RETRY_INITIAL_S", 0.01)
    monkeypatch.setattr(supervisor, "SILENT_S", 2)


async def test_a_process_that_hangs_is_replaced(tmp_path: Path) -> None:
    script = Script(f"{SAY}once()\ntime.sleep(1000 if number == 1 else 0)\n{SERVE}", tmp_path)
    with capture_logs() as logs:
        running = asyncio.create_task(Supervisor(2, script).run())
        async with asyncio.timeout(SECONDS):
            while len(script.said()) < 3:  # noqa: ASYNC110 - what processes do
                await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [name[0] for name in script.said()] == ["0", "1", "1"]
    assert [entry["number"] for entry in logs if entry["event"] == "process_ended"] == [1]
    assert any(entry["event"] == "process_hangs" for entry in logs)


async def test_if_the_first_does_not_start_no_other_is_tried(tmp_path: Path) -> None:
    script = Script(f"{SAY}sys.exit(7)", tmp_path)
    with pytest.raises(ProcessFailed) as failed:
        await Supervisor(3, script).run()
    assert failed.value.status == 7
    assert len(script.said()) == 1


async def test_if_another_does_not_start_all_are_ended(tmp_path: Path) -> None:
    script = Script(f"{SAY}sys.exit(7) if number == 2 else None\n{SERVE}", tmp_path)
    async with asyncio.timeout(SECONDS):
        with pytest.raises(ProcessFailed):
            await Supervisor(3, script).run()
    assert not any(map(lives, script.pids()))


async def test_it_gives_up_when_none_runs_and_none_can_be_started(tmp_path: Path) -> None:
    lines = f"first = not any(name[0] == str(number) for name in os.listdir(folder))\n{SAY}"
    script = Script(f"{lines}once() if first else sys.exit(9)\ntime.sleep(0.1)", tmp_path)
    with capture_logs() as logs, pytest.raises(ProcessFailed):
        async with asyncio.timeout(SECONDS):
            await Supervisor(2, script).run()
    failures = [entry["failures"] for entry in logs if entry["event"] == "process_not_started"]
    assert max(failures) == supervisor._MOST_FAILURES


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_the_addresses_of_a_name_share_a_port() -> None:
    sockets = bound("localhost", 0)
    try:
        assert len({one.getsockname()[1] for one in sockets}) == 1
    finally:
        for one in sockets:
            one.close()
