"""The catalogue in numbers: texts, pictures, duplicates."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from model_store.colours import full_rgb
from model_store.data.dataset import Dataset, DatasetItem, is_file

MAX_PIXELS = 40_000_000
"""As the service accepts; decoding more is not tried."""
_THREADS = 4
_REPORT_EVERY = 200
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    LookupError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class Picture(NamedTuple):
    """The hash of a picture file, and why it can't be read; both "" if it does not exist."""

    content: str = ""
    fault: str = ""


@dataclass(frozen=True)
class ItemStatistics:
    """What `items.jsonl` and `images/` hold. Duplicates are items that share the part with an earlier item.

    Attributes:
        repeated_ids: lines whose id another line has; the last of them counts.
        look_alikes: items with the title and the picture of an earlier one.
        alike: of each item that has a twin, a text that only its twins have.
        unreadable: item -> why its picture can't be read.
    """

    items: int
    repeated_ids: int
    with_picture: int
    missing: list[str]
    unreadable: dict[str, str]
    pictures_read: bool
    with_description: int
    with_terms: int
    with_caption: int
    with_summary: int
    same_title: int
    same_picture: int
    look_alikes: int
    alike: dict[str, str] = field(repr=False)


def item_statistics(
    dataset: Dataset, lines: int, *, read_pictures: bool, progress: Callable[[float], None]
) -> ItemStatistics:
    """
    Args:
        lines: of the file.
        read_pictures: decode each picture, which takes milliseconds for each; otherwise only look whether it is there.
        progress: called with the share done, 0..1.
    """
    items = list(dataset.items.values())
    pictured = [item for item in items if item.image is not None]
    pictures = {item.item_id: picture for item, picture in _pictures(pictured, read_pictures, progress)}
    titles = {item.item_id: " ".join(item.title.lower().split()) for item in items}
    content = {item_id: picture.content for item_id, picture in pictures.items() if picture.content}
    looks = {item.item_id: f"{content.get(item.item_id, '')} {titles[item.item_id]}" for item in items}
    shared = Counter(looks.values())
    return ItemStatistics(
        items=len(items),
        repeated_ids=lines - len(items),
        with_picture=len(pictured),
        missing=[item_id for item_id, picture in pictures.items() if picture == Picture()],
        unreadable={item_id: picture.fault for item_id, picture in pictures.items() if picture.fault},
        pictures_read=read_pictures,
        with_description=sum(bool(item.description) for item in items),
        with_terms=sum(bool(item.genres or item.tags) for item in items),
        with_caption=sum(bool(item.caption) for item in items),
        with_summary=sum(bool(item.summary) for item in items),
        same_title=_repeats(titles.values()),
        same_picture=_repeats(content.values()),
        look_alikes=_repeats(looks.values()),
        alike={item_id: look for item_id, look in looks.items() if shared[look] > 1},
    )


def _repeats(values: Iterable[str]) -> int:
    counts = Counter(values)
    return counts.total() - len(counts)


def _pictures(
    items: list[DatasetItem], read: bool, progress: Callable[[float], None]
) -> Iterable[tuple[DatasetItem, Picture]]:
    with ThreadPoolExecutor(_THREADS) as threads:
        looked = threads.map(partial(look_at, read=read), (item.image for item in items))
        for number, (item, picture) in enumerate(zip(items, looked, strict=True), 1):
            if number % _REPORT_EVERY == 0 or number == len(items):
                progress(number / len(items))
            yield item, picture


def look_at(path: Path, *, read: bool = True) -> Picture:
    """The picture at `path`; unless `read`, its path stands for the hash."""
    try:
        if not read:
            return Picture(str(path)) if is_file(path) else Picture()
        encoded = path.read_bytes()
    except (FileNotFoundError, ValueError):
        # A name with a NUL is that of no file.
        return Picture()
    except OSError as error:
        return Picture("", error.strerror or type(error).__name__)
    content = hashlib.sha256(encoded).hexdigest()
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                return Picture(content, f"more than {MAX_PIXELS:,} pixels")
            full_rgb(opened)
    except _UNREADABLE as error:
        return Picture(content, _reason(error))
    return Picture(content)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {MAX_PIXELS:,} pixels"
    return f"damaged: {error}"
