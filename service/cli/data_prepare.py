"""`tastestream data prepare`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from model_store.data import prepare as preparing
from model_store.data.dataset import interaction_rows, item_rows, read_items
from model_store.data.rows import InteractionRow
from model_store.data.statistics.interactions import has_clock_times
from model_store.errors import UserError
from model_store.progress import stages
from model_store.signals import Signals
from service.cli.dataset_copy import write_copy
from service.cli.dataset_files import BEFORE, new_dataset, require_free
from service.cli.options import MAX_SEED
from service.cli.terminal import print_table, say, settings_or_exit

_TIME_SHARE = 0.8
"""Of the interactions, as the protocol `time` of `tastestream evaluate`."""
_Steps = list[tuple[str, Sequence[InteractionRow]]]


def prepare(
    source: Annotated[Path, typer.Argument(help="The dataset folder to read.")],
    folder: Annotated[Path, typer.Argument(help="The dataset folder to write.")],
    k_core: Annotated[
        int, typer.Option(help="Keep users and items with at least so many partners; 1 keeps all.", min=1, max=1000)
    ] = 1,
    max_users: Annotated[
        int | None, typer.Option(help="Draw at most so many users.", min=2, show_default="all")
    ] = None,
    split: Annotated[
        Literal["user", "time"],
        typer.Option(help="`time` also writes the first 80 % of the interactions as a dataset to train on."),
    ] = "user",
    keep_items: Annotated[
        bool, typer.Option("--keep-items", help="Keep the items that the k-core drops, as new items.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Draws the users.", min=0, max=MAX_SEED)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset in the folder.")] = False,
) -> None:
    """Clean a dataset and bring it to the form that papers report: k-core, a sample of users.

    Always removed: exact copies of interactions, users who are copies of others, interactions with unknown items,
    exposures, and the names of pictures that are missing or can't be read. `--k-core 5` is what most papers use.

    The splits are by user, one in ten for tests. Such a test knows what others did later. `--split time` avoids that:
    train on FOLDER/before, and evaluate on FOLDER with `tastestream evaluate --protocol time`.

    Example:

        tastestream data prepare microlens microlens-5core --k-core 5 --max-users 50000
    """
    require_free(folder, force=force)
    signals = Signals(settings_or_exit().signals.vocabulary())
    with stages() as report:
        report("reading", 0.0, "")
        items = read_items(source)
        steps = list(_steps(source, set(items), signals, k_core, max_users, seed))
        rows = steps[-1][1]
        if not rows:
            raise UserError(f"nothing is left of {source}: {_story(steps)}; lower --k-core or raise --max-users")
        if split == "time" and not has_clock_times(rows):
            raise UserError(
                f"the timestamps of {source} are positions or day numbers, not times: a split by time means nothing; "
                "use --split user"
            )
        moment = preparing.moment_of(rows, _TIME_SHARE) if split == "time" else None
        kept = {row.item_id for row in rows}
        catalogue = [
            fields for _, fields in item_rows(source) if k_core == 1 or keep_items or str(fields["item_id"]) in kept
        ]
        report("reading", 1.0, "")
        options = {"source": source.name, "k_core": k_core, "max_users": max_users, "split": split, "seed": seed}
        with new_dataset(folder, force=force) as partial:
            unusable = write_copy(source, partial, items, catalogue, rows, report)
        _write_note(folder / "prepared.json", options | {"interactions": dict(_counts(steps))})
        if moment is not None:
            earlier = [row for row in rows if row.timestamp < moment]
            with new_dataset(folder / BEFORE, force=True) as partial:
                write_copy(folder, partial, items, [fields for _, fields in item_rows(folder)], earlier, report)
    print_table([(name, f"{count:,}") for name, count in _counts(steps)], "interactions", "left")
    users = len({row.user_id for row in rows})
    say(f"{users:,} users, {len(catalogue):,} items, {len(rows):,} interactions written to {folder}")
    if unusable:
        say(f"{unusable:,} items lost the name of a picture that is missing or can't be read")
    if moment is not None:
        say(f"train on {folder / BEFORE}, evaluate with: tastestream evaluate VERSION --data {folder} --protocol time")


def _steps(
    source: Path, items: set[str], signals: Signals, k: int, max_users: int | None, seed: int
) -> Iterator[tuple[str, Sequence[InteractionRow]]]:
    """What is left after each step."""
    rows = [row for row in interaction_rows(source) if not signals.is_exposure(row.type)]
    yield "in the source, without exposures", rows
    rows = preparing.without_copies(rows)
    yield "without exact copies", rows
    rows = preparing.with_known_items(rows, items)
    yield "with items of the catalogue", rows
    rows = preparing.without_copied_users(rows)
    yield "without users who are copies of others", rows
    if max_users is not None:
        rows = preparing.sample_users(rows, max_users, seed)
        yield f"of {max_users:,} users", rows
    if k > 1:
        rows = preparing.k_core(rows, k)
        yield f"in the {k}-core", rows


def _counts(steps: _Steps) -> list[tuple[str, int]]:
    return [(name, len(rows)) for name, rows in steps]


def _story(steps: _Steps) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in _counts(steps))


def _write_note(file: Path, note: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(note, indent=2) + "\n")
