"""`models finetune`: from a base and a dataset folder to a registered ranker version."""

import gc
import shlex
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model_store.cooccurrence import Cooccurrence
from model_store.data import text_files
from model_store.data.dataset import HELD_OUT, Dataset, DatasetError, read_dataset
from model_store.data.statistics.leaks import find_leaks
from model_store.data.summaries import SUMMARIES, UserSummaries, read_summaries
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.msr.finetune import FinetuneError, parity
from model_store.msr.finetune.arguments import adapter, multiplies_in_bfloat16, training_arguments
from model_store.msr.finetune.base import Base, open_base
from model_store.msr.finetune.catalogue import Catalogue
from model_store.msr.finetune.examples import Pair, draw_pairs, lazy_rows
from model_store.msr.finetune.memory import require_memory
from model_store.msr.finetune.merge import Merged, write_merged
from model_store.msr.finetune.options import FinetuneOptions
from model_store.msr.finetune.publish import Candidate, describe_version, make_probe, register
from model_store.msr.finetune.rendering import Collator, Renderer, write_prompts
from model_store.msr.finetune.runs import close_run, open_run, record
from model_store.msr.finetune.scoring import Scorer
from model_store.msr.finetune.trainer import RankingTrainer, callbacks
from model_store.msr.finetune.validation import Validation
from model_store.msr.scratch.publish import require_place
from model_store.progress import Report, quiet
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest, Training
from model_store.registry.registry import Registry
from model_store.signals import BUILT_IN, Signals

_MAX_COPIES = 0.05
"""The share of test users who may have the whole history of another user, by chance."""
_MEASURED = 64
"""Prompts whose lengths are measured before the run."""


@dataclass(frozen=True)
class Setup:
    """Everything that a run needs, checked, before the weights are loaded."""

    base: Base
    dataset: Dataset
    prompts: PromptSet
    renderer: Renderer
    catalogue: Catalogue
    pairs: list[Pair]
    validation: Validation
    collator: Collator
    options: FinetuneOptions
    longest: int
    bfloat16: bool


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
        FinetuneError: the base, the options or the memory; nothing was trained, or nothing is registered.
        DatasetError, ProtocolError: the data.
        ManifestError: nothing can be registered in `store`, or not by this name.
    """
    options = options or FinetuneOptions()
    require_place(store, name)
    work = work or store / name / "finetuning"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tastestream-finetune-") as scratch:
        setup = prepare(open_base(base, revision), data, Path(scratch) / "prompts", signals, options, progress)
        trainer = train(setup, data, work, resume=resume, progress=progress)
        finished = not trainer.accelerator.is_main_process
        margins = trainer.score(setup.validation.prompts, lambda done: progress("validating", done, ""))
        if finished:
            return None
        origin = Training(
            command=shlex.join(["tastestream", *sys.argv[1:]]),
            data=data.resolve().name,
            seed=options.seed,
            steps=trainer.state.global_step,
            minutes=round((time.monotonic() - started) / 60, 1),
            held_out=HELD_OUT,
        )
        return _publish(setup, trainer, margins, origin, store, name, work, Path(scratch), progress)


def prepare(
    base: Base, data: Path, prompts: Path, signals: Signals, options: FinetuneOptions, progress: Report
) -> Setup:
    """Read and check all that can fail, and draw the pairs.

    Raises:
        FinetuneError, DatasetError, ProtocolError: see `finetune`.
    """
    progress("reading", 0, "")
    dataset = read_dataset(data, signals)
    _require_pictures(dataset, data, options)
    _require_no_copies(dataset, data)
    has_summaries = text_files.find(data / SUMMARIES).is_file()
    summaries = read_summaries(data / SUMMARIES) if has_summaries else UserSummaries({})
    written = write_prompts(prompts, base, signals, options.recents)
    renderer = Renderer(base, written, options.picture)
    catalogue = Catalogue(dataset, summaries, pictures=options.pictures, recents=options.recents)
    pairs = draw_pairs(dataset, options)
    validation = Validation.draw(dataset, catalogue, renderer, options)
    collator = Collator(base.processor, base.frame.labels.yes_id, base.frame.labels.no_id)
    rows = lazy_rows(pairs[:_MEASURED], catalogue, renderer)
    longest = max(collator([row])["input_ids"].shape[1] for row in rows)
    require_length(base, longest)
    bfloat16 = multiplies_in_bfloat16(options)
    estimate = require_memory(base, options, longest, bfloat16)
    progress("reading", 1, f"{len(pairs)} pairs, {len(summaries)} users with summaries, {estimate}")
    return Setup(base, dataset, written, renderer, catalogue, pairs, validation, collator, options, longest, bfloat16)


def train(setup: Setup, data: Path, work: Path, *, resume: bool, progress: Report = quiet) -> RankingTrainer:
    """Run the training; the trainer then has the best adapter."""
    from accelerate import PartialState

    state = PartialState()
    with state.main_process_first():
        expected = record(setup.base, data, setup.options, state.num_processes)
        checkpoint = open_run(work, expected, resume) if state.is_main_process or resume else None
    report = progress if state.is_main_process else quiet
    trainer = make_trainer(setup, work, report)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    report(
        "training", 1, f"{trainer.state.global_step} steps, validation AUC {100 * (trainer.state.best_metric or 0):.1f}"
    )
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
    scratch: Path,
    progress: Report,
) -> Manifest:
    options, base, validation = setup.options, setup.base, setup.validation
    model = trainer.accelerator.unwrap_model(trainer.model)
    trained, weights = scratch / "adapter", scratch / "weights"
    model.save_pretrained(trained)
    device = trainer.accelerator.device
    del model
    trainer.accelerator.free_memory()
    trainer.model = trainer.model_wrapped = None
    _free()
    progress("merging", 0, "")
    merged = write_merged(trained, base, weights)
    progress("merging", 0.5, f"{merged.changed} of {merged.tensors} tensors changed")
    places = parity.fixed(len(validation.prompts))
    prompts = [validation.prompts[place] for place in places]
    reloaded = load(weights, setup.bfloat16).to(device)
    scorer = Scorer(reloaded, setup.collator, base.frame.labels, options.scoring_rows)
    tolerance = parity.HALF if setup.bfloat16 else parity.FLOAT32
    before, after = [margins[place] for place in places], scorer(prompts)
    largest = parity.require_equal("adapter and merged checkpoint", before, after, tolerance)
    probe = make_probe(setup.renderer, scorer)
    parameters = sum(weight.numel() for weight in reloaded.parameters())
    del reloaded, scorer
    _free()
    temperature = validation.temperature(margins)
    cooccurrence: Cooccurrence = Likes(liked_by(setup.dataset, "train")).cooccurrence(options.neighbours)
    measured = validation.measure(margins)
    manifest = describe_version(
        name,
        base,
        setup.prompts,
        options,
        version=Registry(store).next_version(name),
        probe=probe,
        blend=validation.blend(margins, cooccurrence),
        longest=setup.longest,
        training=origin.model_copy(update={"parameters": parameters}),
        evaluation=_evaluation(measured, temperature, validation.brier(margins, temperature), merged, largest),
        float32=not setup.bfloat16,
    )
    if options.check_vllm and parity.vllm_is_installed():
        progress("vLLM", 0, "starting a server with the merged checkpoint")
        views = [validation.views[place] for place in places]
        served = parity.vllm_log_odds(manifest, weights, setup.prompts, views)
        difference = parity.require_equal("merged checkpoint and vLLM", after, served, tolerance)
        manifest.evaluation["parity"]["vllm"] = round(difference, 5)
    registered = register(
        Candidate(manifest, setup.prompts, weights, cooccurrence), store, trained if options.keep_adapter else None
    )
    close_run(work)
    progress("registered", 1, "")
    return registered


def _evaluation(
    measured: dict[str, float], temperature: float, calibrated: float, merged: Merged, largest: float
) -> dict[str, Any]:
    """Results for the manifest: AUC in percent, Brier scores 0..1."""
    aucs = {name: round(100 * value, 2) for name, value in measured.items() if name != "brier"}
    return {
        "validation_auc": aucs,
        "calibration": {
            "brier": round(measured["brier"], 4),
            "temperature": round(temperature, 4),
            "brier_at_temperature": round(calibrated, 4),
        },
        "merge": {"changed_tensors": merged.changed, "tensors": merged.tensors},
        "parity": {"merged": round(largest, 5)},
    }


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _require_pictures(dataset: Dataset, data: Path, options: FinetuneOptions) -> None:
    if options.pictures and not dataset.has_pictures:
        raise DatasetError(
            f"{data} has no pictures; train on texts alone with --no-pictures, or name the pictures in items.jsonl"
        )


def _require_no_copies(dataset: Dataset, data: Path) -> None:
    copies, users = find_leaks(dataset, {}, is_clock=False).duplicate_users, len(dataset.users("test"))
    if copies > _MAX_COPIES * users:
        raise DatasetError(
            f"{copies} of {users} test users of {data} have the history of a user of another split, whom training "
            "may see: remove the copies (tastestream data check shows them)"
        )


def require_length(base: Base, longest: int) -> None:
    """
    Raises:
        FinetuneError: the base can't read prompts of `longest` tokens.
    """
    limit = base.config.get_text_config().max_position_embeddings
    if longest > limit:
        raise FinetuneError(
            f"prompts have up to {longest} tokens, and {base.name} reads {limit}; "
            "use a smaller --picture-side or fewer --recents"
        )
