"""Amazon Reviews 2023 (Hou et al., 2024): metadata and reviews of categories, or the ratings of a benchmark split."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from model_store.data.rows import InteractionRow, Rejected, converted, five_stars, item, json_rows
from model_store.data.tables import rows
from model_store.data.text_files import DataFileError, find

_META = re.compile(r"meta_(.+)\.jsonl(?:\.gz)?")
_SIZES = ("large", "hi_res", "thumb")
_RATING = {"user_id": (), "item_id": ("parent_asin", "asin"), "rating": (), "timestamp": ()}


def fits(source: Path) -> bool:
    return source.is_dir() and bool(_metadata(source))


def items(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    for path, _ in _require(source):
        yield from json_rows(path, _item)


def interactions(source: Path) -> Iterator[InteractionRow | Rejected]:
    for _, category in _require(source):
        reviews, ratings = find(source / f"{category}.jsonl"), find(source / f"{category}.csv")
        if reviews.is_file():
            yield from json_rows(reviews, _review)
        elif ratings.is_file():
            for line, row in rows(ratings, _RATING, _RATING):
                yield converted(ratings, line, five_stars, **row)
        else:
            raise DataFileError(
                f"{source} has neither {category}.jsonl (reviews) nor {category}.csv (ratings), plain or .gz"
            )


def _item(row: dict[str, Any]) -> dict[str, Any]:
    texts = [*_several(row.get("description")), *_several(row.get("features"))]
    attributes = {name: row.get(name) for name in ("price", "store", "average_rating")}
    return item(
        item_id=row.get("parent_asin"),
        title=row.get("title"),
        description=" ".join(text for text in texts if isinstance(text, str)),
        genres=row.get("categories") or [row.get("main_category")],
        image_url=_image(row.get("images") or ()),
        attributes={name: value for name, value in attributes.items() if value not in (None, "")},
    )


def _several(value: Any) -> Iterable[Any]:
    """The parts of a field that is an array, or in some files one text."""
    return [value] if isinstance(value, str) else value or ()


def _image(images: Any) -> str:
    """The main picture, or else another, in a size that is enough for a model."""
    found = sorted((one for one in images if isinstance(one, dict)), key=lambda one: one.get("variant") != "MAIN")
    return next((one[size] for one in found for size in _SIZES if one.get(size)), "")


def _review(row: dict[str, Any]) -> InteractionRow:
    return five_stars(
        user_id=row.get("user_id"),
        item_id=row.get("parent_asin") or row.get("asin"),
        rating=row.get("rating"),
        timestamp=row.get("timestamp", row.get("sort_timestamp")),
    )


def _metadata(source: Path) -> list[tuple[Path, str]]:
    """The metadata files, each with its category."""
    return [(path, match[1]) for path in sorted(source.iterdir()) if (match := _META.fullmatch(path.name))]


def _require(source: Path) -> list[tuple[Path, str]]:
    found = _metadata(source) if source.is_dir() else []
    if not found:
        raise DataFileError(f"{source} is not a folder with a meta_CATEGORY.jsonl, plain or .gz")
    return found
