"""`tastestream up`: what it adds to the store, and how it ends when one of its processes does."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_store.demo import ITEMS, MODELS
from model_store.registry.registry import Registry
from model_store.serving.launch import free_port
from service.local.up import seed_cooccurrence
from service.settings import Settings
from tests.redis_servers import until

_TOUR = "describing pictures"


async def test_the_counts_of_a_version_are_added_once(redis_url: str) -> None:
    settings, registry = Settings(redis_url=redis_url), Registry(MODELS)
    ranker, summarizer = registry.get("demo-ranker"), registry.get("demo-summarizer")
    assert await seed_cooccurrence(settings, registry, ranker) == ITEMS
    assert await seed_cooccurrence(settings, registry, ranker) == 0
    assert await seed_cooccurrence(settings, registry, summarizer) == 0


@dataclass(frozen=True)
class Touring:
    """`up --demo` that waits for descriptions, which nobody writes: no model server answers."""

    process: subprocess.Popen[bytes]
    output: Path

    def child(self, word: str) -> int:
        """The process id of the child with an argument, or a program, that ends with `word`."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if any(part.endswith(word) for part in _command(pid)))


def _command(pid: str) -> list[str]:
    return re.split(r"[\0 ]", Path(f"/proc/{pid}/cmdline").read_text())


@pytest.fixture
def touring(tmp_path: Path) -> Iterator[Touring]:
    nobody = f"http://127.0.0.1:{free_port()}"
    outside = {name: value for name, value in os.environ.items() if not name.startswith("TASTESTREAM_")}
    engines = {
        f"TASTESTREAM_{role}__{name}": value
        for role in ("SUMMARIZER", "RANKER")
        for name, value in (("URL", nobody), ("MODEL", "none"))
    }
    # A family without an embedder, which would be started.
    command = [sys.executable, "-m", "service.cli.main", "up", "--demo", "--models", "none"]
    output = tmp_path / "output"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--data-dir", str(tmp_path / "data"), "--port", str(free_port())],
            env={**outside, **engines},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: process.poll() is not None or _TOUR in output.read_text(), "the tour has not begun")
        assert process.poll() is None, output.read_text()
        yield Touring(process, output)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(300)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@pytest.mark.parametrize(("name", "word"), [("redis", "redis-server"), ("gateway", "gateway"), ("worker", "worker")])
def test_the_tour_ends_when_a_process_dies(touring: Touring, name: str, word: str) -> None:
    os.kill(touring.child(word), signal.SIGKILL)
    assert touring.process.wait(300) == 1
    said = touring.output.read_text()
    log = touring.output.parent / f"data/logs/{name}.log"
    assert f"error: {name} was killed by SIGKILL (status -9). Its log, {log}, ends with:" in said
    assert "Traceback" not in said.partition("Its log")[0]
