"""`models finetune`: from a base and a dataset folder to a registered ranker version."""

import gc
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from model_store.data.dataset import HELD_OUT
from model_store.evaluate.item_models import learn_item_models
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.msr.finetune import FinetuneError, parity
from model_store.msr.finetune.arguments import adapter, training_arguments
from model_store.msr.finetune.base import open_base
from model_store.msr.finetune.examples import lazy_rows
from model_store.msr.finetune.merge import write_merged
from model_store.msr.finetune.options import FinetuneOptions
from model_store.msr.finetune.publish import describe_version, evaluation, make_probe, register
from model_store.msr.finetune.runs import close_run, open_run, record
from model_store.msr.finetune.scoring import Scorer
from model_store.msr.finetune.setup import Setup, prepare
from model_store.msr.finetune.trainer import RankingTrainer, callbacks
from model_store.msr.scratch.publish import require_place
from model_store.progress import Report, quiet
from model_store.registry.manifest import Manifest, Training
from model_store.registry.registry import Registry
from model_store.signals import BUILT_IN, Signals


def finetune(
    base: str,
    data: Path,
    store: Path,
    *,
    name: str,
    work: Path | None = None,
    revision: str | None = None,
    resume: bool = False,
    signals: Signals = BUILT_IN,
    options: FinetuneOptions | None = None,
    progress: Report = quiet,
) -> Manifest | None:
    """Fine-tune `base` on the dataset folder `data`, and register the ranker `name` in `store`.

    Args:
        base: a folder, or an id of the Hugging Face hub, then at `revision`.
        work: the folder of checkpoints; by default one in the store.
        resume: continue the run whose checkpoints are in `work`.

    Returns:
        The manifest; None in all but the main process of several.

    Raises:
        FinetuneError: the base, the options or the memory; or what was trained is not what would be served.
        DatasetError, ProtocolError: the data.
        ManifestError: nothing can be registered in `store`, or not by this name.
    """
    options = options or FinetuneOptions()
    _require_launcher()
    require_place(store, name)
    work = work or store / name / "finetuning"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tastestream-prompts-") as prompts:
        setup = prepare(open_base(base, revision), data, Path(prompts), signals, options, progress)
        trainer = train(setup, data, work, resume=resume, progress=progress)
        margins = trainer.score(setup.validation.prompts, lambda done: progress("validating", done, ""))
        if not trainer.accelerator.is_main_process:
            return None
        origin = Training(
            command=shlex.join(["tastestream", *sys.argv[1:]]),
            data=data.resolve().name,
            seed=options.seed,
            steps=trainer.state.global_step,
            minutes=round((time.monotonic() - started) / 60, 1),
            held_out=HELD_OUT,
        )
        return _publish(setup, trainer, margins, origin, store, name, work, progress)


def train(setup: Setup, data: Path, work: Path, *, resume: bool, progress: Report = quiet) -> RankingTrainer:
    """Run the training; the trainer then has the best adapter.

    Raises:
        FinetuneError: `work` has another run, or nothing to resume.
    """
    from accelerate import PartialState

    state = PartialState()
    checkpoint = None
    with state.main_process_first():
        if state.is_main_process or resume:
            checkpoint = open_run(work, record(setup.base, data, setup.options, state.num_processes), resume)
    trainer = make_trainer(setup, work, progress)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError:
        raise FinetuneError(
            f"no memory left after {trainer.state.global_step} steps with batches of {setup.options.batch_size} pairs: "
            f"delete {work} and use a smaller --batch-size with more --accumulate, or a smaller --picture-side"
        ) from None
    best = 100 * (trainer.state.best_metric or 0)
    progress("training", 1, f"{trainer.state.global_step} steps, validation AUC {best:.1f}")
    return trainer


def make_trainer(setup: Setup, work: Path, progress: Report) -> RankingTrainer:
    """A trainer with the base and a fresh adapter."""
    options = setup.options
    rows = lazy_rows(setup.pairs, setup.catalogue, setup.renderer)
    return RankingTrainer(
        labels=setup.base.frame.labels,
        collator=setup.collator,
        validation=setup.validation.prompts,
        measure=setup.validation.measure,
        rows=options.scoring_rows,
        label_smoothing=options.label_smoothing,
        model=load(setup.base.folder, setup.bfloat16),
        args=training_arguments(options, work),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=setup.base.processor,
        peft_config=adapter(options),
        callbacks=callbacks(progress, options.patience),
    )


def load(folder: Path, bfloat16: bool) -> Any:
    """The model of a checkpoint folder, in memory."""
    from transformers import AutoModelForImageTextToText

    dtype = torch.bfloat16 if bfloat16 else torch.float32
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True)


def _publish(
    setup: Setup,
    trainer: RankingTrainer,
    margins: list[float],
    origin: Training,
    store: Path,
    name: str,
    work: Path,
    progress: Report,
) -> Manifest:
    """Merge, hold the adapter, the merged checkpoint and vLLM against each other, and register."""
    options, base, validation = setup.options, setup.base, setup.validation
    # Beside the checkpoints: a temporary folder may be too small for a large model.
    trained, weights = work / "adapter", work / "merged"
    for folder in (trained, weights):
        shutil.rmtree(folder, ignore_errors=True)
    device = trainer.accelerator.device
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(trained)
    trainer.accelerator.free_memory()
    trainer.model = trainer.model_wrapped = None
    _free()
    progress("merging", 0, "")
    merged = write_merged(trained, base, weights)
    progress("merging", 1, f"{merged.changed} of {merged.tensors} tensors changed")

    places = parity.fixed(len(validation.prompts))
    tolerance = parity.HALF if setup.bfloat16 else parity.FLOAT32
    model = load(weights, setup.bfloat16).to(device)
    scorer = Scorer(model, setup.collator, base.frame.labels, options.scoring_rows)
    before, after = [margins[place] for place in places], scorer([validation.prompts[place] for place in places])
    apart = {"merged": parity.require_equal("adapter and merged checkpoint", before, after, tolerance)}
    probe = make_probe(setup.renderer, scorer)
    parameters = sum(weight.numel() for weight in model.parameters())
    del model, scorer
    _free()

    cooccurrence = Likes(liked_by(setup.dataset, "train")).cooccurrence(options.neighbours)
    item_models = learn_item_models(setup.dataset, progress)
    manifest = describe_version(
        setup,
        name,
        version=Registry(store).next_version(name),
        probe=probe,
        blend=validation.blend(margins, cooccurrence, item_models),
        training=origin.model_copy(update={"parameters": parameters}),
    )
    if options.check_vllm and parity.vllm_is_installed():
        progress("vLLM", 0, "starting a server with the merged checkpoint")
        served = parity.vllm_log_odds(manifest, weights, setup.prompts, [validation.views[place] for place in places])
        apart["vllm"] = parity.require_equal("merged checkpoint and vLLM", after, served, tolerance)
        progress("vLLM", 1, f"{len(places)} pairs scored as in training")
    measured = manifest.model_copy(update={"evaluation": evaluation(validation, margins, merged, apart)})
    keep = trained if options.keep_adapter else None
    registered = register(measured, setup.prompts, weights, cooccurrence, item_models, store, keep)
    close_run(work)
    progress("registered", 1, "")
    return registered


def _require_launcher() -> None:
    """Trainer would spread the model over all visible GPUs by threads, which TRL refuses after loading it."""
    gpus = torch.cuda.device_count()
    if gpus > 1 and "WORLD_SIZE" not in os.environ:
        raise FinetuneError(
            f"{gpus} GPUs are visible: start with accelerate launch --num_processes {gpus} $(which tastestream), "
            "or show one with CUDA_VISIBLE_DEVICES=0"
        )


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
