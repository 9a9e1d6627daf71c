"""Tables with a header whose columns have common names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_store.data.rows import InteractionRow, Rejected, converted, interaction, item
from model_store.data.tables import rows
from model_store.data.text_files import DataFileError

_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".txt")
_ITEM = {
    "item_id": ("id", "sku", "product_id", "article_id", "movie_id", "asin", "item"),
    "title": ("name", "product_name", "item_name", "product_title"),
    "description": ("desc", "product_description", "text", "summary"),
    "genres": ("genre", "category", "categories", "product_type"),
    "tags": ("tag", "keywords", "labels"),
    "image": ("image_file", "picture", "cover"),
    "image_url": ("image_link", "picture_url", "img_url", "cover_url"),
}
_INTERACTION = {
    "user_id": ("user", "customer_id", "visitor_id", "uid", "userid"),
    "item_id": ("item", "sku", "product_id", "article_id", "movie_id", "asin", "content_id"),
    "timestamp": ("time", "ts", "date", "datetime", "event_time", "created_at", "unix_timestamp", "t_dat"),
    "rating": ("score", "stars", "overall"),
    "type": ("event", "event_type", "event_name", "action", "behavior", "behaviour"),
}
_ITEM_FILES = ("items", "products", "catalog", "catalogue", "articles")
_INTERACTION_FILES = ("interactions", "events", "ratings", "transactions", "reviews")


def fits(source: Path) -> bool:
    if source.is_dir():
        return _named(source, _ITEM_FILES) is not None
    return source.name.lower().endswith(_ENDINGS)


def items(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    path = source if source.is_file() else _require(source, _ITEM_FILES)
    for line, row in rows(path, _ITEM, ("item_id", "title")):
        yield converted(path, line, item, **row)


def interactions(source: Path) -> Iterator[InteractionRow | Rejected]:
    if source.is_file():
        raise DataFileError(
            f"{source} is one table, of items: put it and the table of interactions into a folder, as items.csv and "
            "interactions.csv, and name that"
        )
    path = _require(source, _INTERACTION_FILES)
    for line, row in rows(path, _INTERACTION, ("user_id", "item_id", "timestamp")):
        yield converted(path, line, interaction, **row)


def images(source: Path) -> Path | None:
    folder = (source if source.is_dir() else source.parent) / "images"
    return folder if folder.is_dir() else None


def _named(folder: Path, stems: tuple[str, ...]) -> Path | None:
    candidates = (folder / f"{stem}{ending}" for stem in stems for ending in _ENDINGS)
    return next((path for path in candidates if path.is_file()), None)


def _require(folder: Path, stems: tuple[str, ...]) -> Path:
    path = _named(folder, stems)
    if path is None:
        raise DataFileError(f"{folder} has no {stems[0]}.csv (or .tsv, .gz)")
    return path
