"""Draws the dashboards for the documentation from a real run: `python -m tests.observe`.

Redis, two vLLM servers, two gateways, a worker and a Prometheus with our rules run for a while under load. Meanwhile
the ranker hangs for a sixth of the time (SIGSTOP), and later the worker for a tenth. What Prometheus recorded is
drawn panel by panel (`tests/observe/render.py`). `--keep` keeps the recording, `--from` draws it again.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

from model_store.demo import MODELS
from model_store.registry.registry import Registry
from model_store.serving.launch import VllmServer
from tests.deploy.dashboards import FILES
from tests.deploy.prometheus import RULE_FILES
from tests.observe.prometheus import START_S, Prometheus, wait_for
from tests.observe.render import render
from tests.observe.stack import SHADOW, running_stack
from tests.observe.traffic import Traffic

ROOT = Path(__file__).parents[2]
INTERVAL_S = 5.0
_SPAN = "span.json"
SETTINGS = {"PICTURES__FETCH_ATTEMPTS": "2", "PICTURES__SWEEP_EVERY_S": "60", "PICTURES__GRACE_S": "60"}
FAULTS = (("ranker", 0.4, 0.57), ("worker", 0.75, 0.85))
"""What hangs, from which share of the run to which."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.observe", description="Draw docs/dashboards/*.png.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "dashboards")
    parser.add_argument("--minutes", type=float, default=7.0, help="how long the service runs")
    parser.add_argument("--keep", type=Path, help="keep what Prometheus recorded in this folder")
    parser.add_argument(
        "--from", dest="recording", type=Path, help="draw this recording instead of running the service"
    )
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.recording or arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not arguments.recording:
            folder.mkdir(parents=True, exist_ok=True)
            record(folder, 60 * arguments.minutes)
        start, end = json.loads((folder / _SPAN).read_text("utf-8"))
        prometheus = stack.enter_context(Prometheus(folder, {}, (), INTERVAL_S))
        arguments.output.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            picture = arguments.output / f"{file.stem}.png"
            picture.write_bytes(render(file, prometheus, start, end, INTERVAL_S))
            print(f"{picture}: {picture.stat().st_size:,} bytes")


def record(folder: Path, seconds: float) -> None:
    """Run the service under load with its faults; Prometheus writes into the folder."""
    with (
        tempfile.TemporaryDirectory() as state,
        _servers(Path(state)) as servers,
        running_stack(
            Path(state),
            ranker_url=servers["ranker"].url,
            summarizer_url=servers["summarizer"].url,
            settings=SETTINGS,
        ) as stack,
        Prometheus(folder, stack.targets, RULE_FILES, INTERVAL_S),
    ):
        wait_for(lambda: all(_ready(url) for url in stack.gateways), START_S)
        traffic = Traffic(stack.gateways, stack.picture_url, stack.encoder_url)
        traffic.load()
        start = time.time()
        with traffic.running():
            _break({"ranker": servers["ranker"].pid, "worker": stack.worker.pid}, start, seconds)
            (folder / _SPAN).write_text(json.dumps([start, time.time()]), "utf-8")


def _break(pids: Mapping[str, int], start: float, seconds: float) -> None:
    """Stop each process at its time and let it go on."""
    steps: list[tuple[float, str, signal.Signals]] = [
        (share, name, what)
        for name, first, last in FAULTS
        for share, what in ((first, signal.SIGSTOP), (last, signal.SIGCONT))
    ]
    for share, name, what in sorted(steps):
        time.sleep(max(0.0, start + share * seconds - time.time()))
        os.kill(pids[name], what)
        print(f"{time.time() - start:5.0f} s: {name} {what.name}", file=sys.stderr)
    time.sleep(max(0.0, start + seconds - time.time()))


@contextlib.contextmanager
def _servers(folder: Path) -> Iterator[dict[str, VllmServer]]:
    """Both vLLM servers, with the demo's models."""
    registry = Registry(MODELS)
    servers = {}
    for role in ("summarizer", "ranker"):
        manifest = registry.get(f"demo-{role}")
        weights, prompts = registry.local_folder(manifest), registry.templates(manifest)
        also = [SHADOW] if role == "ranker" else []
        servers[role] = VllmServer(manifest, weights, prompts, folder / f"{role}.log", also=also)
    with asyncio.Runner() as runner:
        try:
            runner.run(_each([server.start() for server in servers.values()]))
            runner.run(_each([server.wait_healthy() for server in servers.values()]))
            yield servers
        finally:
            runner.run(_each([server.stop() for server in servers.values()]))


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


async def _each(calls: Sequence[object]) -> None:
    await asyncio.gather(*calls)  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
