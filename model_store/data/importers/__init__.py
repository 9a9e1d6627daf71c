"""Well-known layouts of data, read as the items and interactions of a dataset folder.

| layout          | what is read                                                                                |
| --------------- | ------------------------------------------------------------------------------------------- |
| `tables`        | `items.csv` and `interactions.csv` with columns by their usual names, or one table of items |
| `movielens`     | `movies.csv` and `ratings.csv`; `movies.dat` and `ratings.dat`; `u.item` and `u.data`       |
| `amazon-2023`   | `meta_CATEGORY.jsonl` and `CATEGORY.jsonl` or `CATEGORY.csv` of Amazon Reviews 2023         |
| `microlens`     | `MicroLens-SIZE_pairs.csv` (or `.tsv`), `..._titles.csv`, the folder `..._covers`           |
| `product-feed`  | a Google Merchant feed: tab-separated or XML (RSS 2.0, Atom)                                |

Any file may be compressed with gzip, and of any encoding that `text_files` knows. Items that lack an id or a title, and
interactions that lack a part, are rejected one by one; a file that is not of its layout is an error.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.data.importers import amazon2023, microlens, movielens, product_feed, tables
from model_store.data.importers.rows import InteractionRow, Rejected
from model_store.data.text_files import DataFileError

__all__ = ["LAYOUTS", "InteractionRow", "Layout", "Rejected", "find_layout"]

Items = Callable[[Path], Iterator[dict[str, Any] | Rejected]]
Interactions = Callable[[Path], Iterator[InteractionRow | Rejected]]


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout. `fits` says whether the files at a path are of it; `images` names the folder of its pictures."""

    fits: Callable[[Path], bool]
    items: Items
    interactions: Interactions | None
    images: Callable[[Path], Path | None] = lambda source: None


LAYOUTS: Mapping[str, Layout] = {
    "movielens": Layout(movielens.fits, movielens.items, movielens.interactions),
    "microlens": Layout(microlens.fits, microlens.items, microlens.interactions, microlens.images),
    "amazon-2023": Layout(amazon2023.fits, amazon2023.items, amazon2023.interactions),
    "product-feed": Layout(product_feed.fits, product_feed.items, None),
    "tables": Layout(tables.fits, tables.items, tables.interactions, tables.images),
}
"""By name, in the order in which they are tried."""


def find_layout(source: Path, name: str | None = None) -> tuple[str, Layout]:
    """The layout called `name`, or the first that fits the files at `source`.

    Raises:
        DataFileError: there is nothing at `source`, or nothing that is known.
    """
    if not source.exists():
        raise DataFileError(f"{source} does not exist")
    if name is not None:
        return name, LAYOUTS[name]
    for known, layout in LAYOUTS.items():
        if layout.fits(source):
            return known, layout
    layouts = ", ".join(LAYOUTS)
    raise DataFileError(f"{source} holds no items.jsonl and is of no known layout; name one with --layout: {layouts}")
