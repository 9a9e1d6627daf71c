"""Amazon Reviews 2023 (Hou et al., 2024): metadata and reviews of categories, or the ratings of a benchmark split."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_store.data.importers.rows import InteractionRow, Rejected, interaction, item, json_rows, made
from model_store.data.tables import rows
from model_store.data.text_files import DataFileError

_META = re.compile(r"meta_(.+)\.jsonl(?:\.gz)?")
_SIZES = ("large", "hi_res", "thumb")


def fits(source: Path) -> bool:
    return source.is_dir() and bool(_metadata(source))


def items(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    for path in _require(source):
        for line, row in json_rows(path):
            yield made(path, line, _item, row)


def interactions(source: Path) -> Iterator[InteractionRow | Rejected]:
    for metadata in _require(source):
        category = _META.fullmatch(metadata.name)
        assert category is not None  # noqa: S101 - `_metadata` has matched it
        yield from _interactions(source, category[1])


def _interactions(source: Path, category: str) -> Iterator[InteractionRow | Rejected]:
    reviews = next((path for ending in ("", ".gz") if (path := source / f"{category}.jsonl{ending}").is_file()), None)
    if reviews is not None:
        for line, row in json_rows(reviews):
            yield made(reviews, line, _review, row)
        return
    ratings = next((path for ending in ("", ".gz") if (path := source / f"{category}.csv{ending}").is_file()), None)
    if ratings is None:
        raise DataFileError(
            f"{source} has neither {category}.jsonl (reviews) nor {category}.csv (ratings), plain or .gz"
        )
    columns = {"user_id": (), "item_id": ("parent_asin", "asin"), "rating": (), "timestamp": ()}
    for line, row in rows(ratings, columns, tuple(columns)):
        yield made(ratings, line, interaction, **row)


def _item(row: Any) -> dict[str, Any]:
    if isinstance(row, ValueError):
        raise row
    texts = [*(row.get("description") or ()), *(row.get("features") or ())]
    categories = row.get("categories") or [row.get("main_category")]
    attributes = {"price": row.get("price"), "store": row.get("store"), "average_rating": row.get("average_rating")}
    return item(
        item_id=row.get("parent_asin"),
        title=row.get("title"),
        description=" ".join(text for text in texts if isinstance(text, str)),
        genres=categories,
        image_url=_image(row.get("images") or ()),
        attributes={name: value for name, value in attributes.items() if value not in (None, "")},
    )


def _image(images: Any) -> str:
    """The main picture in the size that is enough for a model, or another one."""
    found = sorted((one for one in images if isinstance(one, dict)), key=lambda one: one.get("variant") != "MAIN")
    return next((one[size] for one in found for size in _SIZES if one.get(size)), "")


def _review(row: Any) -> InteractionRow:
    if isinstance(row, ValueError):
        raise row
    return interaction(
        user_id=row.get("user_id"),
        item_id=row.get("parent_asin") or row.get("asin"),
        rating=row.get("rating"),
        timestamp=row.get("timestamp", row.get("sort_timestamp")),
    )


def _metadata(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if _META.fullmatch(path.name))


def _require(source: Path) -> list[Path]:
    found = _metadata(source) if source.is_dir() else []
    if not found:
        raise DataFileError(f"{source} is no folder with a meta_CATEGORY.jsonl, plain or .gz")
    return found
