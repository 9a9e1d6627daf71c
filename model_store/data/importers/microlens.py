"""MicroLens (Ni et al., 2023): pairs of users and videos, titles, and a folder of covers.

The titles of the 50k release (`..._titles.csv`) have a header; those of 100k (`..._title_en.csv`) and 1M
(`..._title.csv`) have none, and quotes that are not balanced.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from model_store.data.rows import InteractionRow, Rejected, converted, interaction, item
from model_store.data.tables import rows
from model_store.data.text_files import DataFileError, lines, open_text

_PAIRS, _TITLES = ("_pairs",), ("_titles", "_title_en", "_title")
_COVER_ENDINGS = (".jpg", ".png", ".webp")


def fits(source: Path) -> bool:
    return source.is_dir() and None not in (_file(source, _PAIRS), _file(source, _TITLES))


def items(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    path, covers = _require(source, _TITLES), _covers(source)
    columns = {"item_id": ("item", "id", "video_id"), "title": ("title_en", "name")}
    titles = rows(path, columns, ("item_id", "title")) if _has_header(path) else _bare_titles(path)
    for line, row in titles:
        yield converted(path, line, item, **row, image=_cover(covers, row["item_id"]))


def interactions(source: Path) -> Iterator[InteractionRow | Rejected]:
    path = _require(source, _PAIRS)
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
        user_id, tab, videos = text.strip(" \r\n").partition("\t")
        if not tab:
            yield Rejected(path.name, line, "no tab after the user")
        for position, video in enumerate(videos.split()):
            yield converted(path, line, interaction, user_id=user_id, item_id=video, timestamp=position)


def _has_header(path: Path) -> bool:
    with open_text(path) as text:
        return not text.readline().partition(",")[0].strip().isdecimal()


def _bare_titles(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines without a header: what is after the first comma is the title, whatever it holds."""
    for line, text in lines(path):
        item_id, _, title = text.partition(",")
        title = title.strip()
        if len(title) > 1 and title[0] == title[-1] == '"':
            title = title[1:-1].replace('""', '"')
        yield line, {"item_id": item_id.strip(), "title": title}


def _covers(source: Path) -> frozenset[str]:
    """The names of the covers."""
    folder = images(source)
    return frozenset() if folder is None else frozenset(path.name for path in folder.iterdir())


def _cover(covers: frozenset[str], item_id: str) -> str:
    return next((name for ending in _COVER_ENDINGS if (name := f"{item_id}{ending}") in covers), "")


def _file(source: Path, parts: Sequence[str]) -> Path | None:
    """The file whose name has the first of `parts` that one has. The CSV has times, the TSV only positions."""
    files = sorted(path for path in source.iterdir() if path.is_file())
    found = next((named for part in parts if (named := [path for path in files if part in path.name])), [])
    return next((path for path in found if ".csv" in path.suffixes), found[0] if found else None)


def _require(source: Path, parts: Sequence[str]) -> Path:
    path = _file(source, parts) if source.is_dir() else None
    if path is None:
        raise DataFileError(f"{source} is not a folder with a file MicroLens-...{parts[0]}.csv")
    return path
