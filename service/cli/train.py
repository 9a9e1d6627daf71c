"""`tastestream train`."""

from typing import Annotated

import typer
from rich.markup import escape

from model_store.progress import stages
from model_store.signals import Signals
from service.cli.model_store import local_store
from service.cli.options import MAX_MINUTES, MAX_SEED, DatasetFolder, ModelStore
from service.cli.terminal import out, settings_or_exit


def train(
    data: DatasetFolder,
    name: Annotated[
        str | None, typer.Option(help="The name of the model family.", show_default="the name of the data folder")
    ] = None,
    minutes: Annotated[float, typer.Option(help="How long to train.", min=0.1, max=MAX_MINUTES)] = 35.0,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Train for this many steps instead of a time; gives the same model on every machine.",
            min=1,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of weights and examples.", min=0, max=MAX_SEED)] = 0,
    store: ModelStore = None,
) -> None:
    """Train the small multimodal model from scratch on a dataset folder, and register it.

    Registers NAME-summarizer and NAME-ranker, which `tastestream up --models NAME` serves. One user in ten is
    held out of training, for `replay` to evaluate on.

    Example:

        tastestream train --data movielens --name movielens --minutes 25
    """
    from model_store.msr.scratch.train import TrainOptions
    from model_store.msr.scratch.train import train as train_from_scratch

    settings = settings_or_exit()
    family, folder = (
        name or data.resolve().name.lower(),
        settings.models_folder if store is None else local_store(store),
    )
    options = TrainOptions(minutes=minutes, steps=steps, seed=seed, signals=Signals(settings.signals.vocabulary()))
    with stages() as report:
        ranker, summarizer = train_from_scratch(data, folder, name=family, options=options, progress=report)
    out.print(f"registered {summarizer.id} and {ranker.id} in {folder}")
    out.print(f"serve them: tastestream up --models {family} --store {folder}")
    if summarizer.training.warning:
        out.print(f"[bold red]warning:[/] {escape(summarizer.training.warning)}")
