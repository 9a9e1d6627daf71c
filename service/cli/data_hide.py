"""`tastestream data hide-items`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from model_store.data.dataset import interaction_rows, item_rows, read_items
from model_store.errors import UserError
from model_store.progress import stages
from model_store.retrieval.cold import is_cold
from service.cli.dataset_copy import write_copy
from service.cli.dataset_files import new_dataset, require_apart, require_free
from service.cli.options import MAX_SEED
from service.cli.terminal import say

NOTE = "hidden.json"


def hide_items(
    source: Annotated[Path, typer.Argument(help="The dataset folder to read.")],
    folder: Annotated[Path, typer.Argument(help="The dataset folder to write.")],
    cold_share: Annotated[float, typer.Option(help="Share of the items to hide.", min=0, max=0.5)] = 0.1,
    seed: Annotated[int, typer.Option(help="Draws the hidden items.", min=0, max=MAX_SEED)] = 0,
    drop_items: Annotated[
        bool,
        typer.Option(
            "--drop-items",
            help="Remove hidden items from the catalogue too, so that no training draws them as negatives.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset in the folder.")] = False,
) -> None:
    """Remove what happened to a share of the items, so that a model trained on the rest does not know them.

    With the same --cold-share and --seed, the hidden items are those of `models train-embedder`,
    `models evaluate-retrieval` and `replay --retrieve`, for which they stand for new items. Pictures are linked.
    Summaries of users are left out, because they tell of hidden items.

    Example:

        tastestream data hide-items movielens movielens-known --drop-items
    """
    require_free(folder, force=force)
    require_apart(source, folder)
    with stages() as report:
        report("reading", 0.0, "")
        items = read_items(source)
        hidden = {item for item in items if is_cold(item, seed, cold_share)}
        everything = list(interaction_rows(source))
        rows = [row for row in everything if row.item_id not in hidden]
        if not rows:
            raise UserError(f"no interaction of {source} is left: lower --cold-share")
        catalogue = [
            fields for _, fields in item_rows(source) if not drop_items or str(fields["item_id"]) not in hidden
        ]
        report("reading", 1.0, "")
        with new_dataset(folder, force=force) as partial:
            unusable = write_copy(source, partial, items, catalogue, rows, report)
        note = {"source": source.name, "cold_share": cold_share, "seed": seed, "drop_items": drop_items}
        (folder / NOTE).write_text(json.dumps(note, indent=2) + "\n")
    lost = len(everything) - len(rows)
    say(f"{len(hidden):,} of {len(items):,} items are hidden, with {lost:,} of {len(everything):,} interactions")
    say(f"{len(catalogue):,} items, {len(rows):,} interactions written to {folder}")
    if unusable:
        say(f"{unusable:,} items lost the name of a picture that is missing or can't be read")
