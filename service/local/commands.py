"""`tastestream replay` and `tastestream train`, with their progress bars."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from model_store.evaluate.protocol import Negatives, Protocol
from model_store.evaluate.replay import ReplayOptions, replay
from model_store.evaluate.report import replay_to_markdown, replay_to_rich

Report = Callable[[str, int, int], None]


def replay_command(
    data: Path,
    url: str,
    users: int | None,
    negatives: Negatives,
    seed: int,
    keep_users: bool,
    api_key: str | None,
    markdown: Path | None,
    console: Console,
) -> None:
    """Replay `data` and print the report; see `model_store.evaluate.replay`."""
    protocol = Protocol(negatives=negatives, users=users, seed=seed)
    options = ReplayOptions(protocol=protocol, delete_users=not keep_users, api_key=api_key, deadline_ms=30_000)
    with _stages(console) as report:
        found = asyncio.run(replay(data, url, options, report))
    console.print(replay_to_rich(found))
    if markdown is not None:
        with markdown.open("a", encoding="utf-8") as document:
            document.write(replay_to_markdown(found) + "\n")


@contextmanager
def _stages(console: Console) -> Iterator[Report]:
    """A progress bar per stage, made when the stage first reports."""
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield report


def train_command(data: Path, store: Path, name: str, minutes: float, seed: int, console: Console) -> None:
    """Train on `data` and say what was registered; see `model_store.msr.train`."""
    # Imported here: torch takes seconds, and only this command needs it.
    from model_store.msr.train import Progress as Training
    from model_store.msr.train import TrainOptions, train

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
    with Progress(
        *columns, TimeRemainingColumn(), TextColumn("[dim]{task.fields[losses]}"), console=console
    ) as progress:
        tasks: dict[str, Any] = {}

        def report(told: Training) -> None:
            if told.stage not in tasks:
                tasks[told.stage] = progress.add_task(told.stage, total=1.0, losses="")
            losses = "" if told.losses is None else f"step {told.step}: {told.losses}"
            progress.update(tasks[told.stage], completed=told.done, losses=losses)

        options = TrainOptions(minutes=minutes, seed=seed)
        ranker, summarizer = train(data, store, name=name, options=options, progress=report)
    console.print(f"registered {summarizer.id} and {ranker.id} in {store}")
    console.print(f"serve them: tastestream up --models {name} --store {store}")
