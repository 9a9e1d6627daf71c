"""`tastestream models train-embedder` and `models embed`: vectors of items (NoteLLM-2)."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from model_store.progress import stages
from model_store.signals import Signals
from service.cli.model_store import Reference, local_store, store_of
from service.cli.options import MAX_MINUTES, MAX_SEED, DatasetFolder, ModelStore, require_writable
from service.cli.terminal import say, settings_or_exit

Shown = Literal["both", "words", "picture"]


def train_embedder(
    data: DatasetFolder,
    base: Annotated[
        str, typer.Option(help="The folder of a causal language model, or `scratch` for a small new one.")
    ] = "scratch",
    vision: Annotated[
        str,
        typer.Option(help="The folder of a frozen vision encoder, or `builtin` for one without weights."),
    ] = "builtin",
    name: Annotated[
        str | None, typer.Option(help="The name of the model family.", show_default="the name of the data folder")
    ] = None,
    minutes: Annotated[float, typer.Option(help="How long to train.", min=0.1, max=MAX_MINUTES)] = 60.0,
    steps: Annotated[
        int | None,
        typer.Option(help="Train for this many steps instead of a time.", min=1, show_default=False),
    ] = None,
    pairs: Annotated[int, typer.Option(help="Pairs of items in one step.", min=2, max=4096)] = 64,
    partners: Annotated[
        Literal["all", "drawn"],
        typer.Option(help="What an item has to find in a step: `all` its partners there, or the `drawn` one (paper)."),
    ] = "all",
    dimensions: Annotated[int, typer.Option(help="Numbers of a vector.", min=2, max=4096)] = 64,
    queries: Annotated[int, typer.Option(help="Soft tokens of a picture.", min=1, max=256)] = 16,
    layers: Annotated[
        int, typer.Option(help="Keep only so many first layers of the language model; 0 keeps all.", min=0)
    ] = 0,
    rank: Annotated[
        int, typer.Option(help="Rank of the LoRA adapters; 0 trains the language model in full.", min=0, max=256)
    ] = 16,
    learning_rate: Annotated[
        float, typer.Option(help="Peak rate of the language model's weights or adapters.", min=1e-7, max=0.1)
    ] = 5e-4,
    inputs: Annotated[Shown, typer.Option(help="What of an item is shown: `both`, `words` or `picture`.")] = "both",
    micl: Annotated[bool, typer.Option(help="Read a position that has seen only the picture (mICL).")] = True,
    late_fusion: Annotated[bool, typer.Option(help="Mix what is read with the picture's feature.")] = True,
    cold_share: Annotated[
        float, typer.Option(help="Share of items hidden from the training, to evaluate new items.", min=0, max=0.5)
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The seed of weights, pairs and hidden items.", min=0, max=MAX_SEED)] = 0,
    run: Annotated[
        Path | None,
        typer.Option(help="The folder of the run's state.", show_default="NAME-embedder-run"),
    ] = None,
    store: ModelStore = None,
) -> None:
    """Train vectors of items on a dataset folder, and register them as NAME-embedder.

    The vectors find items by picture and words, also new ones that nobody has met (NoteLLM-2). A language model reads a
    frozen vision encoder's view of the picture and the item's words; it learns which items users liked one after the
    other. Start the same command again to continue an interrupted run.

    Example:

        tastestream models train-embedder --data shop --base parts/llm --vision parts/vision --name shop --minutes 90
    """
    from model_store.msr.parts.lora import LoraSizes
    from model_store.notellm2.command import train_embedder as train
    from model_store.notellm2.options import EmbedderOptions

    settings = settings_or_exit()
    family = name or data.resolve().name.lower()
    folder = settings.models_folder if store is None else local_store(store)
    options = EmbedderOptions(
        minutes=minutes,
        steps=steps,
        seed=seed,
        pairs=pairs,
        partners=partners,
        dimensions=dimensions,
        queries=queries,
        layers=layers,
        adapter=LoraSizes(rank, 2 * rank) if rank else None,
        llm_rate=learning_rate,
        inputs=inputs,
        micl=micl and inputs == "both",
        late_fusion=late_fusion,
        cold_share=cold_share,
        signals=Signals(settings.signals.vocabulary()),
    )
    with stages() as report:
        manifest = train(
            data,
            folder,
            name=family,
            base=base,
            vision=vision,
            run=run or Path(f"{family}-embedder-run"),
            options=options,
            progress=report,
        )
    say(f"registered {manifest.id} in {folder}")
    for metric, value in manifest.evaluation["validation"].items():
        say(f"  {metric} of validation users' pairs: {100 * value:.1f} %")


def embed(
    version: Reference,
    data: DatasetFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="The npz file to write: `ids` and `vectors`.")],
    show: Annotated[Shown, typer.Option(help="What the model is shown: `both`, `words` or `picture`.")] = "both",
    run: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the training's run: pictures that it has looked at are not looked at again.",
            show_default="NAME-run",
        ),
    ] = None,
    store: ModelStore = None,
) -> None:
    """Write the vectors of a dataset's items to a file, without a model server.

    Example:

        tastestream models embed shop-embedder --data shop --out shop-vectors.npz
    """
    from model_store.notellm2.command import embed_dataset

    require_writable(out.parent)
    registry = store_of(version, store)
    manifest = registry.get(version)
    with stages() as report:
        count = embed_dataset(
            data,
            registry,
            manifest,
            out,
            run=run or Path(f"{manifest.name}-run"),
            words=show != "picture",
            picture=show != "words",
            progress=report,
        )
    say(f"wrote {count} vectors to {out}")
