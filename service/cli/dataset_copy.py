"""Write a part of a dataset as a new one. Pictures are linked, or copied where links are not possible."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_store.data.dataset import (
    DESCRIPTIONS,
    IMAGES,
    ITEMS,
    DatasetItem,
    item_line,
    picture_file,
    write_interactions,
)
from model_store.data.rows import InteractionRow
from model_store.data.statistics.items import look_at
from model_store.progress import Report

_REPORT_EVERY = 200


def write_copy(
    source: Path,
    partial: Path,
    items: Mapping[str, DatasetItem],
    catalogue: Sequence[Mapping[str, Any]],
    rows: Sequence[InteractionRow],
    report: Report,
) -> int:
    """Write a dataset with pictures and descriptions, but without summaries of users, which other rows would change.

    Args:
        source: the dataset folder that has the pictures.
        partial: the folder to write.
        items: the items of the source, for their descriptions.
        catalogue: the lines of `items.jsonl` to write.
        rows: the interactions to write.

    Returns:
        How many items lost the name of a picture that is missing or can't be read.
    """
    lost = 0
    (partial / IMAGES).mkdir()
    with (partial / ITEMS).open("w", encoding="ascii") as lines:
        for number, fields in enumerate(catalogue, 1):
            name = fields.get("image")
            if name and not _take_picture(source / IMAGES, str(name), partial / IMAGES):
                lost += 1
                fields = {key: value for key, value in fields.items() if key != "image"}
            lines.write(item_line(fields))
            if number % _REPORT_EVERY == 0 or number == len(catalogue):
                report("items and pictures", number / len(catalogue), f"{number:,} items")
    write_interactions(partial, rows)
    _write_descriptions(partial, items, catalogue)
    return lost


def _take_picture(images: Path, name: str, target: Path) -> bool:
    """Link or copy a readable picture. False if it is unusable."""
    picture = picture_file(images, name)
    if picture is None:
        return False
    looked = look_at(picture)
    if looked.fault or not looked.content:
        return False
    new = target / name
    new.parent.mkdir(parents=True, exist_ok=True)
    if not new.exists():
        try:
            os.link(picture, new)
        except OSError:
            shutil.copyfile(picture, new)
    return True


def _write_descriptions(
    partial: Path, items: Mapping[str, DatasetItem], catalogue: Sequence[Mapping[str, Any]]
) -> None:
    kept = dict.fromkeys(str(fields["item_id"]) for fields in catalogue)
    described = [items[item_id] for item_id in kept if items[item_id].summary]
    if described:
        text = "".join(item_line({"item_id": item.item_id, "summary": item.summary}) for item in described)
        (partial / DESCRIPTIONS).write_text(text)
