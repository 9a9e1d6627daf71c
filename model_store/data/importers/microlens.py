"""MicroLens (Ni et al., 2023): pairs of users and videos, titles, and a folder of covers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_store.data.rows import InteractionRow, Rejected, converted, interaction, item
from model_store.data.tables import rows
from model_store.data.text_files import DataFileError, lines

_COVER_ENDINGS = (".jpg", ".png", ".webp")


def fits(source: Path) -> bool:
    return source.is_dir() and _file(source, "_pairs") is not None and _file(source, "_titles") is not None


def items(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    path, covers = _require(source, "_titles"), _covers(source)
    columns = {"item_id": ("item", "id", "video_id"), "title": ("title_en", "name")}
    for line, row in rows(path, columns, ("item_id", "title")):
        yield converted(path, line, item, **row, image=_cover(covers, row["item_id"]))


def interactions(source: Path) -> Iterator[InteractionRow | Rejected]:
    path = _require(source, "_pairs")
    if ".tsv" in path.suffixes:
        yield from _sequences(path)
        return
    columns = {"user_id": ("user", "uid"), "item_id": ("item", "video_id"), "timestamp": ("time", "ts")}
    for line, row in rows(path, columns, columns):
        yield converted(path, line, interaction, **row)


def images(source: Path) -> Path | None:
    return next((path for path in sorted(source.glob("*_covers")) if path.is_dir()), None)


def _sequences(path: Path) -> Iterator[InteractionRow | Rejected]:
    """One user per line with, after a tab, their videos in order; the position is used as the time."""
    for line, text in lines(path):
        user_id, _, videos = text.strip().partition("\t")
        for position, video in enumerate(videos.split()):
            yield converted(path, line, interaction, user_id=user_id, item_id=video, timestamp=position)


def _covers(source: Path) -> frozenset[str]:
    """The names of the covers."""
    folder = images(source)
    return frozenset() if folder is None else frozenset(path.name for path in folder.iterdir())


def _cover(covers: frozenset[str], item_id: str) -> str:
    return next((name for ending in _COVER_ENDINGS if (name := f"{item_id}{ending}") in covers), "")


def _file(source: Path, part: str) -> Path | None:
    found = sorted(path for path in source.iterdir() if part in path.name and path.is_file())
    # The CSV has times, the TSV only positions.
    return next((path for path in found if ".csv" in path.suffixes), found[0] if found else None)


def _require(source: Path, part: str) -> Path:
    path = _file(source, part) if source.is_dir() else None
    if path is None:
        raise DataFileError(f"{source} has no file MicroLens-...{part}.csv")
    return path
