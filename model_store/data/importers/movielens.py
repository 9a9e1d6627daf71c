"""MovieLens (Harper and Konstan, 2015): the releases since 2014 (CSV), 1M and 10M (`::`), and 100K (bars and tabs)."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_store.data.importers.rows import InteractionRow, Rejected, interaction, item, made
from model_store.data.tables import rows
from model_store.data.text_files import DataFileError, find, lines

_MOST_TAGS = 10
_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


def fits(source: Path) -> bool:
    return source.is_dir() and _release(source) is not None


def items(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    release = _require(source)
    if release == "csv":
        return _movies_csv(source)
    return _movies_dat(source) if release == "dat" else _movies_100k(source)


def interactions(source: Path) -> Iterator[InteractionRow | Rejected]:
    release = _require(source)
    if release == "csv":
        return _ratings_csv(source)
    return _split_rows(find(source / "ratings.dat"), "::") if release == "dat" else _split_rows(source / "u.data", "\t")


def _release(source: Path) -> str | None:
    for release, names in (
        ("csv", ("movies.csv", "ratings.csv")),
        ("dat", ("movies.dat", "ratings.dat")),
        ("100k", ("u.item", "u.data")),
    ):
        if all(find(source / name).is_file() for name in names):
            return release
    return None


def _require(source: Path) -> str:
    release = _release(source) if source.is_dir() else None
    if release is None:
        raise DataFileError(
            f"{source} is no folder with movies.csv and ratings.csv, the .dat files, or u.item and u.data"
        )
    return release


def _movies_csv(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    path, tags = find(source / "movies.csv"), _tags(source)
    columns = {"item_id": ("movieId",), "title": (), "genres": ()}
    for line, row in rows(path, columns, ("item_id", "title")):
        yield made(path, line, item, **row, tags=tags.get(row["item_id"]))


def _tags(source: Path) -> dict[str, list[str]]:
    """The tags that were given most often to each film."""
    path = find(source / "tags.csv")
    if not path.is_file():
        return {}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for _, row in rows(path, {"item_id": ("movieId",), "tag": ()}, ("item_id", "tag")):
        counts[row["item_id"]][row["tag"].strip().lower()] += 1
    return {item_id: [tag for tag, _ in counter.most_common(_MOST_TAGS)] for item_id, counter in counts.items()}


def _ratings_csv(source: Path) -> Iterator[InteractionRow | Rejected]:
    path = find(source / "ratings.csv")
    columns = {"user_id": ("userId",), "item_id": ("movieId",), "rating": (), "timestamp": ()}
    for line, row in rows(path, columns, tuple(columns)):
        yield made(path, line, interaction, **row)


def _movies_dat(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    path = find(source / "movies.dat")
    for line, fields in _split(path, "::", 3):
        yield made(path, line, _movie, *fields)


def _movie(item_id: str, title: str, genres: str) -> dict[str, Any]:
    return item(item_id=item_id, title=title, genres=genres)


def _movies_100k(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    path = source / "u.item"
    for line, fields in _split(path, "|", 5 + len(_GENRES_100K)):
        yield made(path, line, _movie_100k, fields)


def _movie_100k(fields: list[str]) -> dict[str, Any]:
    flags = zip(_GENRES_100K[1:], fields[6:], strict=True)
    return item(item_id=fields[0], title=fields[1], genres=[genre for genre, flag in flags if flag == "1"])


def _split_rows(path: Path, separator: str) -> Iterator[InteractionRow | Rejected]:
    for line, fields in _split(path, separator, 4):
        yield made(path, line, _rating, *fields)


def _rating(user_id: str, item_id: str, rating: str, timestamp: str) -> InteractionRow:
    return interaction(user_id=user_id, item_id=item_id, rating=rating, timestamp=timestamp)


def _split(path: Path, separator: str, count: int) -> Iterator[tuple[int, list[str]]]:
    """
    Raises:
        DataFileError: a line has another number of fields.
    """
    for line, text in lines(path):
        fields = text.strip("\r\n").split(separator)
        if len(fields) != count:
            raise DataFileError(f"{path}, line {line}: {len(fields)} fields separated by {separator!r}, not {count}")
        yield line, fields
