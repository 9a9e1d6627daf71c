"""How fast `tastestream items import` fills an empty catalogue, and what a kill in the middle costs.

A gateway and a Redis of their own, and the command in a process of its own, on generated items: a title of five
words, a description of thirty, two genres, three tags, two attributes; then fewer with a picture of 64 x 64 pixels
each, sent along from `images/`.
"""

import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from PIL import Image

from model_store.errors import UserError
from service.settings.state import StateSettings
from service.state.keys import Keys
from tests.benchmarks.command import run
from tests.benchmarks.machine import cpu_s
from tests.benchmarks.processes import Bench, Web, bench, gateway
from tests.benchmarks.tables import Findings, Markdown

WORDS = (
    "amber",
    "brook",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbour",
    "island",
    "jasmine",
    "kettle",
    "lamp",
)
SIDE = 64
LOOK_S = 0.01
INDEXES = [bucket.index for bucket in Keys(StateSettings().buckets).items]


def main(
    items: Annotated[int, typer.Option(help="Items without a picture.", min=10_000)] = 100_000,
    pictured: Annotated[int, typer.Option(help="Items with a picture.", min=1)] = 2_000,
    markdown: Markdown = None,
) -> None:
    """Measure an import of each kind, and one that is killed in the middle."""
    found = Findings("Importing a catalogue", markdown)
    rows: list[list[str]] = []
    with bench() as given:
        plain = _write(given.folder / "plain", items, pictures=False)
        shown = _write(given.folder / "shown", pictured, pictures=True)
        for name, folder, count in (("words only", plain, items), ("with pictures", shown, pictured)):
            given.redis.flushall()
            with gateway(given) as web:
                rows.append([name, *_import(given, web, folder, count)])
        given.redis.flushall()
        with gateway(given) as web:
            resumed = _kill_and_resume(given, web, plain, items)
    sizes = ["gateway RSS, MiB", "of it at start", "command RSS, MiB"]
    found.table(["", "items", "seconds", "items/s", "gateway CPU, µs/item", *sizes], rows)
    found.say("RSS is the peak of the process.")
    found.say(resumed)
    found.save()


def _import(given: Bench, web: Web, folder: Path, count: int) -> list[str]:
    cpu, before, started = cpu_s(web.pid), _peak_mib(web.pid), time.monotonic()
    command = _start(given, web, folder)
    command_rss = 0.0
    while command.poll() is None:
        command_rss = max(command_rss, _peak_mib(command.pid))
        time.sleep(LOOK_S)
    seconds = time.monotonic() - started
    if command.returncode or _stored(given) != count:
        raise UserError(f"the import ended with {command.returncode} and {_stored(given)} of {count} items")
    cpu = cpu_s(web.pid) - cpu
    figures = (f"{count:,}", f"{seconds:.1f}", f"{count / seconds:,.0f}", f"{cpu / count * 1e6:,.0f}")
    return [*figures, f"{_peak_mib(web.pid):.0f}", f"{before:.0f}", f"{command_rss:.0f}"]


def _kill_and_resume(given: Bench, web: Web, folder: Path, count: int) -> str:
    first = _start(given, web, folder)
    _wait(first, lambda: _stored(given) >= count // 2)
    first.kill()
    first.wait()
    # What the gateway had received it still writes.
    before = -1
    while before != (before := _stored(given)):
        time.sleep(0.5)
    started = time.monotonic()
    second = _start(given, web, folder)
    _wait(second, lambda: _stored(given) > before)
    first_new = time.monotonic() - started
    second.wait()
    if second.returncode or _stored(given) != count:
        raise UserError(f"the second run ended with {second.returncode} and {_stored(given)} of {count} items")
    done = time.monotonic() - started
    return (
        f"Killed (SIGKILL) with {before:,} of {count:,} items stored; the same command stored the first new item "
        f"{first_new:.1f} s after its start and was done after {done:.1f} s, with all items there."
    )


def _start(given: Bench, web: Web, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "service.cli.main", "items", "import", str(folder), "--url", web.url]
    return subprocess.Popen(command, env=given.environment(), stdout=subprocess.DEVNULL, process_group=0)


def _wait(command: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    while not condition():
        if command.poll() is not None:
            raise UserError(f"the import ended too early, with {command.returncode}")
        time.sleep(LOOK_S)


def _stored(given: Bench) -> int:
    pipeline = given.redis.pipeline(transaction=False)
    for index in INDEXES:
        pipeline.zcard(index)
    return sum(pipeline.execute())


def _peak_mib(pid: int) -> float:
    """0 when the process has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _write(folder: Path, count: int, *, pictures: bool) -> Path:
    (folder / "images").mkdir(parents=True)
    with (folder / "items.jsonl").open("wb") as file:
        for number in range(count):
            item = _item(number)
            if pictures:
                item["image"] = f"{number}.png"
                (folder / "images" / item["image"]).write_bytes(_picture(number))
            file.write(orjson.dumps(item) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return folder


def _item(number: int) -> dict[str, Any]:
    drawn = random.Random(number)
    return {
        "item_id": f"item-{number:07}",
        "title": " ".join(drawn.choices(WORDS, k=5)),
        "description": " ".join(drawn.choices(WORDS, k=30)),
        "genres": drawn.sample(WORDS, 2),
        "tags": drawn.sample(WORDS, 3),
        "attributes": {"price": drawn.randrange(1000) / 10, "in_stock": drawn.random() < 0.9},
    }


def _picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), random.Random(number).randbytes(SIDE * SIDE * 3)).save(out, format="PNG")
    return out.getvalue()


if __name__ == "__main__":
    run(main)
