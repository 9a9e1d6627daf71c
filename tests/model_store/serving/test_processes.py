"""Child processes: their priority."""

import os
import sys
from pathlib import Path

import pytest

from model_store.serving.processes import BACKGROUND_NICENESS, Child


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
