"""Reads, draws and checks all that a run needs, before the weights are loaded."""

from dataclasses import dataclass, replace
from pathlib import Path

from model_store.data import text_files
from model_store.data.check import require
from model_store.data.dataset import Dataset, DatasetError, is_file, read_dataset
from model_store.data.statistics.leaks import find_leaks
from model_store.data.summaries import SUMMARIES, UserSummaries, read_summaries
from model_store.evaluate.item_weights import require_item_weight_memory
from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.arguments import multiplies_in_bfloat16
from model_store.msr.finetune.base import Base
from model_store.msr.finetune.catalogue import Catalogue
from model_store.msr.finetune.examples import Pair, draw_pairs, lazy_rows
from model_store.msr.finetune.memory import require_memory
from model_store.msr.finetune.options import FinetuneOptions
from model_store.msr.finetune.rendering import Collator, Renderer, write_prompts
from model_store.msr.finetune.validation import Validation
from model_store.progress import Report
from model_store.prompts import PromptSet
from model_store.signals import Signals

_MAX_COPIES = 0.05
"""The share of test users who may have the whole history of another user, by chance."""
_MEASURED = 64
"""Prompts whose lengths are measured before the run."""


@dataclass(frozen=True)
class Setup:
    """A run before its start. `longest`: tokens of the longest measured prompt."""

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


def prepare(
    base: Base, data: Path, prompts: Path, signals: Signals, options: FinetuneOptions, progress: Report
) -> Setup:
    """
    Args:
        prompts: the folder to write the version's prompts to.

    Raises:
        FinetuneError, DatasetError, ProtocolError: see `finetune`.
    """
    progress("reading", 0, "")
    dataset = read_dataset(data, signals)
    require_item_weight_memory(dataset)
    _require_pictures(dataset, data, options)
    require(dataset if options.pictures else _without_pictures(dataset), "training")
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
    progress("reading", 1, f"{len(pairs)} examples, {len(summaries)} users with summaries, {estimate}")
    return Setup(base, dataset, written, renderer, catalogue, pairs, validation, collator, options, longest, bfloat16)


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


def _require_pictures(dataset: Dataset, data: Path, options: FinetuneOptions) -> None:
    if not options.pictures:
        return
    named = [item.image for item in dataset.items.values() if item.image is not None]
    if not named:
        raise DatasetError(
            f"{data} has no pictures; name them in items.jsonl, or train on texts alone with --no-pictures"
        )
    if not any(is_file(path) for path in named):
        raise DatasetError(f"none of the pictures of {data} exists, such as {named[0]}; restore them, or --no-pictures")


def _without_pictures(dataset: Dataset) -> Dataset:
    return replace(dataset, items={item_id: replace(item, image=None) for item_id, item in dataset.items.items()})


def _require_no_copies(dataset: Dataset, data: Path) -> None:
    copies, users = find_leaks(dataset, {}, is_clock=False).duplicate_users, len(dataset.users("test"))
    if copies > _MAX_COPIES * users:
        raise DatasetError(
            f"{copies} of {users} test users of {data} have the history of a user of another split, whom training "
            "may see: remove the copies (tastestream data check shows them)"
        )
