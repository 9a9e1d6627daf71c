"""`tastestream replay` and `tastestream train`, with their progress bars."""

import asyncio
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from model_store.evaluate.protocol import Negatives, Protocol
from model_store.progress import stages
from model_store.signals import Signals
from service.client.replay import ReplayOptions, replay
from service.client.report import replay_to_markdown, replay_to_rich


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
    """Replay `data` and print the report; see `service.client.replay`."""
    protocol = Protocol(negatives=negatives, users=users, seed=seed)
    options = ReplayOptions(protocol=protocol, delete_users=not keep_users, api_key=api_key, deadline_ms=30_000)
    if markdown is not None:
        # Now and not behind the replay: one that can't be written is told at once.
        markdown.touch()
    with stages() as report:
        found = asyncio.run(replay(data, url, options, report))
    console.print(replay_to_rich(found))
    if markdown is not None:
        with markdown.open("a", encoding="utf-8") as document:
            document.write(replay_to_markdown(found) + "\n")


def train_command(
    data: Path, store: Path, name: str, minutes: float, steps: int | None, seed: int, signals: Signals, console: Console
) -> None:
    """Train on `data` and say what was registered; see `model_store.msr.scratch.train`."""
    # Imported here: torch takes seconds, and only this command needs it.
    from model_store.msr.scratch.train import Progress as Training
    from model_store.msr.scratch.train import TrainOptions, train

    with stages() as report:

        def told(training: Training) -> None:
            report(training.stage, training.done, training.note)

        options = TrainOptions(minutes=minutes, steps=steps, seed=seed, signals=signals)
        ranker, summarizer = train(data, store, name=name, options=options, progress=told)
    console.print(f"registered {summarizer.id} and {ranker.id} in {store}")
    console.print(f"serve them: tastestream up --models {name} --store {store}")
    if summarizer.training.warning:
        console.print(f"[bold red]warning:[/] {escape(summarizer.training.warning)}")
