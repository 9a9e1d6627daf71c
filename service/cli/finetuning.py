"""`tastestream models finetune`."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from model_store.errors import UserError
from model_store.progress import quiet, stages
from model_store.signals import Signals
from service.cli.model_store import local_store
from service.cli.options import MAX_SEED, DatasetFolder, ModelStore
from service.cli.terminal import say, settings_or_exit

_DATA, _LEARNING, _MACHINE = "Examples", "Learning", "Machine"


def finetune(
    base: Annotated[
        str,
        typer.Option(help="The pretrained model: a folder, or an id of the Hugging Face hub.", metavar="FOLDER_OR_ID"),
    ],
    data: DatasetFolder,
    name: Annotated[
        str | None, typer.Option(help="The name of the model family.", show_default="the name of the data folder")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a hub id.", show_default="main")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run that was interrupted.")] = False,
    seed: Annotated[int, typer.Option(help="The seed of adapter, examples and order.", min=0, max=MAX_SEED)] = 0,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show the candidates' pictures.", rich_help_panel=_DATA)
    ] = True,
    picture_side: Annotated[
        int, typer.Option(help="Longest side of pictures in pixels.", min=28, max=2048, rich_help_panel=_DATA)
    ] = 224,
    recents: Annotated[
        int, typer.Option(help="Last interactions that a prompt shows.", min=1, max=50, rich_help_panel=_DATA)
    ] = 6,
    positives: Annotated[
        int, typer.Option(help="Examples of likes per user, the latest.", min=1, rich_help_panel=_DATA)
    ] = 10,
    negatives: Annotated[int, typer.Option(help="Negatives per like.", min=1, max=20, rich_help_panel=_DATA)] = 1,
    popular_negatives: Annotated[
        float,
        typer.Option(
            help="Share of negatives drawn by popularity; the others are uniform, as all are in the paper (0).",
            min=0,
            max=1,
            rich_help_panel=_DATA,
        ),
    ] = 0.5,
    validation_users: Annotated[
        int, typer.Option(help="Users who choose checkpoint, blend and temperature.", min=1, rich_help_panel=_DATA)
    ] = 100,
    epochs: Annotated[
        float, typer.Option(help="Passes over the examples.", min=0.001, max=10_000, rich_help_panel=_LEARNING)
    ] = 1.0,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Steps of the optimizer, instead of epochs.", min=1, show_default=False, rich_help_panel=_LEARNING
        ),
    ] = None,
    learning_rate: Annotated[
        float, typer.Option(help="Peak of AdamW's learning rate.", min=1e-8, max=1, rich_help_panel=_LEARNING)
    ] = 2e-5,
    batch_size: Annotated[
        int, typer.Option(help="Examples in one pass of one process.", min=1, rich_help_panel=_LEARNING)
    ] = 8,
    accumulate: Annotated[int, typer.Option(help="Passes in one step.", min=1, rich_help_panel=_LEARNING)] = 1,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.", min=1, max=512, rich_help_panel=_LEARNING)] = 8,
    alpha: Annotated[
        int | None,
        typer.Option(help="Scale of the adapter.", min=1, show_default="twice the rank", rich_help_panel=_LEARNING),
    ] = None,
    dropout: Annotated[
        float, typer.Option(help="Dropout of the adapter.", min=0, max=0.9, rich_help_panel=_LEARNING)
    ] = 0.05,
    label_smoothing: Annotated[
        float,
        typer.Option(help="Probability of the other label in the loss.", min=0, max=0.49, rich_help_panel=_LEARNING),
    ] = 0.0,
    evaluations: Annotated[
        int, typer.Option(help="Validations, each with a checkpoint, in the run.", min=1, rich_help_panel=_LEARNING)
    ] = 5,
    patience: Annotated[
        int, typer.Option(help="Stop after so many validations without a better AUC.", min=1, rich_help_panel=_LEARNING)
    ] = 2,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(
            help="Of products; auto is bfloat16 where the hardware has units for it.", rich_help_panel=_MACHINE
        ),
    ] = "auto",
    gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--gradient-checkpointing/--no-gradient-checkpointing",
            help="Compute activations twice to save memory.",
            rich_help_panel=_MACHINE,
        ),
    ] = True,
    memory_check: Annotated[
        bool,
        typer.Option("--memory-check/--no-memory-check", help="Refuse a run that won't fit.", rich_help_panel=_MACHINE),
    ] = True,
    vllm_check: Annotated[
        bool,
        typer.Option(
            "--vllm-check/--no-vllm-check",
            help="If vLLM is installed, score 20 pairs with it before registering.",
            rich_help_panel=_MACHINE,
        ),
    ] = True,
    keep_adapter: Annotated[
        bool,
        typer.Option("--keep-adapter", help="Store the adapter beside the merged weights.", rich_help_panel=_MACHINE),
    ] = False,
    work_dir: Annotated[
        Path | None,
        typer.Option(help="The folder for checkpoints.", show_default="in the model store", rich_help_panel=_MACHINE),
    ] = None,
    store: ModelStore = None,
) -> None:
    """Fine-tune a pretrained vision-language model on a dataset folder with LoRA, and register it as NAME-ranker.

    One user in ten is held out for `replay`, one in twenty chooses the best checkpoint. An interrupted run continues
    with --resume. Several GPUs: accelerate launch --num_processes 4 $(which tastestream) models finetune ...

    Example:

        tastestream models finetune --base Qwen/Qwen3-VL-2B-Instruct --data shop --name shop
    """
    settings = settings_or_exit()
    try:
        # First, because it makes torchvision importable, which the others import.
        import model_store.msr  # noqa: F401, I001
        import peft  # noqa: F401
        import trl  # noqa: F401
        from transformers.utils import logging
    except ImportError as error:
        raise UserError(f"this needs the extra `finetune` ({error}): pip install 'tastestream[finetune]'") from None
    from model_store.msr.finetune.finetune import finetune as run
    from model_store.msr.finetune.options import FinetuneOptions
    from model_store.pictures import PictureSize

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    options = FinetuneOptions(
        seed=seed,
        epochs=epochs,
        max_steps=steps,
        learning_rate=learning_rate,
        batch_size=batch_size,
        accumulate=accumulate,
        rank=rank,
        alpha=alpha or 2 * rank,
        dropout=dropout,
        label_smoothing=label_smoothing,
        precision=precision,
        gradient_checkpointing=gradient_checkpointing,
        negatives=negatives,
        popular_negatives=popular_negatives,
        positives_per_user=positives,
        recents=recents,
        picture=PictureSize(picture_side, picture_side, "contain"),
        pictures=pictures,
        evaluations=evaluations,
        patience=patience,
        validation_users=validation_users,
        keep_adapter=keep_adapter,
        check_vllm=vllm_check,
        check_memory=memory_check,
    )
    family, folder = (
        name or data.resolve().name.lower(),
        settings.models_folder if store is None else local_store(store),
    )
    is_main = _is_main_process()
    try:
        with stages() if is_main else nullcontext(quiet) as report:
            ranker = run(
                base,
                data,
                folder,
                name=f"{family}-ranker",
                work=work_dir,
                revision=revision,
                resume=resume,
                signals=Signals(settings.signals.vocabulary()),
                options=options,
                progress=report,
            )
    except UserError:
        if is_main:
            raise
        # The main process says it.
        raise typer.Exit(1) from None
    if ranker is not None:
        say(f"registered {ranker.id} in {folder}")


def _is_main_process() -> bool:
    """Under `accelerate launch` or `torchrun`, which set the rank, only the first process reports."""
    return os.environ.get("RANK", "0") == "0"
