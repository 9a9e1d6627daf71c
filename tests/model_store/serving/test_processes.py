"""Child processes: their priority and their end."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from model_store.serving.processes import BACKGROUND_NICENESS, Child
from tests.service.serving import until


def session_niceness(pid: int) -> int | None:
    """None where the kernel does not divide CPUs among sessions."""
    file = Path(f"/proc/{pid}/autogroup")
    return int(file.read_text().split()[-1]) if file.exists() else None


@pytest.mark.parametrize("background", [True, False])
async def test_a_background_process_and_its_session_yield_to_others(tmp_path: Path, background: bool) -> None:
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    child = Child("sleeper", sleeps, {}, tmp_path / "child.log", background=background)
    more = BACKGROUND_NICENESS if background else 0
    await child.start()
    try:
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + more)
        assert session_niceness(child.pid) in (more, None)
    finally:
        await child.stop()


async def test_one_that_ignores_sigterm_is_killed_also_when_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    child = Child("deaf", [sys.executable, "-c", deaf], {}, tmp_path / "child.log")
    await child.start()
    await until(child.log.read_bytes)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await child.stop(grace_s=60)
    await until(child.ended)
    await child.stop()
