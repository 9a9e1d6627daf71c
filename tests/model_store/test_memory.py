"""Free memory is that of the machine, or what the limit of the container leaves of it."""

from pathlib import Path

import pytest

from model_store import memory
from model_store.memory import free_bytes


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB free, and the folder of its container's limits, which are none."""
    (tmp_path / "meminfo").write_text("MemTotal:  16777216 kB\nMemAvailable:  8388608 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    return tmp_path


def limited(folder: Path, limit: str, used: int, cached: int) -> None:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 7\n")


def test_without_a_container_it_is_what_the_machine_has() -> None:
    assert free_bytes() == 8 * 2**30


def test_a_container_has_what_its_limit_leaves_and_the_cache_that_nobody_uses(machine: Path) -> None:
    limited(machine, "5000", used=3000, cached=400)
    assert free_bytes() == 2400
    limited(machine, "5000", used=6000, cached=400)
    assert free_bytes() == 0


def test_a_limit_above_the_machine_or_none_changes_nothing(machine: Path) -> None:
    for limit in ("max", str(2**40)):
        limited(machine, limit, used=3000, cached=400)
        assert free_bytes() == 8 * 2**30


def test_elsewhere_it_is_unknown(machine: Path) -> None:
    (machine / "meminfo").unlink()
    assert free_bytes() is None
