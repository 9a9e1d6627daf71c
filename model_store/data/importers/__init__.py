"""Well-known layouts of data, read as the items and interactions of a dataset folder.

| layout          | what is read                                                                                |
| --------------- | ------------------------------------------------------------------------------------------- |
| `tables`        | `items.csv` and `interactions.csv` with common column names, or one table of items          |
| `movielens`     | `movies.csv` and `ratings.csv`; `movies.dat` and `ratings.dat`; `u.item` and `u.data`       |
| `amazon-2023`   | `meta_CATEGORY.jsonl` and `CATEGORY.jsonl` or `CATEGORY.csv` of Amazon Reviews 2023         |
| `microlens`     | `MicroLens-SIZE_pairs.csv` or `.tsv`, `..._titles.csv` or `..._title_en.csv`, `..._covers`  |
| `product-feed`  | a Google Merchant feed: tab-separated or XML (RSS 2.0, Atom)                                |

Any file may be compressed with gzip, and have any encoding that `text_files` knows. Items without an id or a title and
incomplete interactions are rejected one by one; a file that does not have the expected layout is an error.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.data.importers import amazon2023, microlens, movielens, product_feed, tables
from model_store.data.rows import InteractionRow, Rejected
from model_store.data.text_files import DataFileError, find


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout. `fits` tells whether the files at a path have it; `images` returns the folder of its pictures."""

    fits: Callable[[Path], bool]
    items: Callable[[Path], Iterator[dict[str, Any] | Rejected]]
    interactions: Callable[[Path], Iterator[InteractionRow | Rejected]] | None
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
        DataFileError: `source` does not exist or is a dataset folder, or no layout fits.
    """
    if not source.exists():
        raise DataFileError(f"{source} does not exist")
    if name is not None:
        return name, LAYOUTS[name]
    for known, layout in LAYOUTS.items():
        if layout.fits(source):
            return known, layout
    if find(source / "items.jsonl").is_file():
        raise DataFileError(f"{source} is a dataset folder already: use it as it is")
    layouts = ", ".join(LAYOUTS)
    raise DataFileError(f"{source} has no items.jsonl and no known layout; name one with --layout: {layouts}")
