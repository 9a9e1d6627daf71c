"""MovieLens (Harper and Konstan, 2015): the releases since 2014 (CSV), 1M and 10M (`::`), and 100K (bars and tabs)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from model_store.data.rows import InteractionRow, Rejected, converted, five_stars, item
from model_store.data.tables import rows
from model_store.data.text_files import DataFileError, find, lines

_MAX_TAGS = 10
_RELEASES = {"csv": ("movies.csv", "ratings.csv"), "dat": ("movies.dat", "ratings.dat"), "100k": ("u.item", "u.data")}
_MOVIE = ("item_id", "title", "genres")
_GENRES_100K = (
    *("Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_MOVIE_100K = ("item_id", "title", "release", "video_release", "url", "unknown", *_GENRES_100K)
_RATING = ("user_id", "item_id", "rating", "timestamp")


def fits(source: Path) -> bool:
    return source.is_dir() and _release(source) is not None


def items(source: Path) -> Iterator[dict[str, Any] | Rejected]:
    release, path, _ = _require(source)
    if release == "csv":
        return _movies_csv(path, _tags(find(source / "tags.csv")))
    return _split(path, "::", item, _MOVIE) if release == "dat" else _split(path, "|", _movie_100k, _MOVIE_100K)


def interactions(source: Path) -> Iterator[InteractionRow | Rejected]:
    release, _, path = _require(source)
    return (
        _ratings_csv(path)
        if release == "csv"
        else _split(path, "::" if release == "dat" else "\t", five_stars, _RATING)
    )


def _release(source: Path) -> tuple[str, Path, Path] | None:
    """The name of the release, its file of movies and its file of ratings."""
    for release, names in _RELEASES.items():
        movies, ratings = (find(source / name) for name in names)
        if movies.is_file() and ratings.is_file():
            return release, movies, ratings
    return None


def _require(source: Path) -> tuple[str, Path, Path]:
    found = _release(source) if source.is_dir() else None
    if found is None:
        raise DataFileError(
            f"{source} is not a folder with movies.csv and ratings.csv, the .dat files, or u.item and u.data"
        )
    return found


def _movies_csv(path: Path, tags: dict[str, list[str]]) -> Iterator[dict[str, Any] | Rejected]:
    for line, row in rows(path, {"item_id": ("movieId",), "title": (), "genres": ()}, ("item_id", "title")):
        yield converted(path, line, item, **row, tags=tags.get(row["item_id"]))


def _tags(path: Path) -> dict[str, list[str]]:
    """The most frequent tags of each film."""
    if not path.is_file():
        return {}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for _, row in rows(path, {"item_id": ("movieId",), "tag": ()}, ("item_id", "tag")):
        counts[row["item_id"]][row["tag"].strip().lower()] += 1
    return {item_id: [tag for tag, _ in counter.most_common(_MAX_TAGS)] for item_id, counter in counts.items()}


def _ratings_csv(path: Path) -> Iterator[InteractionRow | Rejected]:
    columns = {"user_id": ("userId",), "item_id": ("movieId",), "rating": (), "timestamp": ()}
    for line, row in rows(path, columns, columns):
        yield converted(path, line, five_stars, **row)


def _movie_100k(*, item_id: str, title: str, **fields: str) -> dict[str, Any]:
    return item(item_id=item_id, title=title, genres=[genre for genre in _GENRES_100K if fields[genre] == "1"])


def _split(path: Path, separator: str, convert: Callable[..., Any], names: Sequence[str]) -> Iterator[Any]:
    """
    Raises:
        DataFileError: a line does not have one field for each name.
    """
    for line, text in lines(path):
        fields = text.strip("\r\n").split(separator)
        if len(fields) != len(names):
            raise DataFileError(
                f"{path}, line {line}: {len(fields)} fields separated by {separator!r}, not {len(names)}"
            )
        yield converted(path, line, convert, **dict(zip(names, fields, strict=True)))
