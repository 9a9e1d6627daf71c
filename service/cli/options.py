"""Options that several commands share."""

import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Literal

import typer

from model_store.errors import UserError
from service.settings import PREFIX

LayoutName = Literal["tables", "movielens", "amazon-2023", "microlens", "product-feed"]
"""The layouts of `model_store.data.importers`."""
Layout = Annotated[
    LayoutName | None, typer.Option("--layout", help="The layout of the data.", show_default="detected from the files")
]
Url = Annotated[str, typer.Option("--url", help="The running service.")]
DEFAULT_URL = "http://127.0.0.1:8000"
DatasetFolder = Annotated[
    Path, typer.Option("--data", help="A dataset folder: items.jsonl, interactions.csv, images/.")
]
DatasetArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A dataset folder.")]
ModelStore = Annotated[
    str | None,
    typer.Option(
        "--store", help="The model store: a folder or an fsspec URL.", show_default="models/ in the data folder"
    ),
]
Summarizer = Annotated[
    str | None,
    typer.Option("--summarizer", help="The version that writes summaries.", show_default="the ranker's family"),
]
RankerUrl = Annotated[
    str | None, typer.Option("--ranker-url", help="A server of the ranker.", show_default="one is started")
]
SummarizerUrl = Annotated[
    str | None, typer.Option("--summarizer-url", help="A server of the summarizer.", show_default="one is started")
]
MAX_SEED = 2**32 - 1
"""What numpy and torch take."""
MAX_MINUTES = 100_000
Tenant = Annotated[str, typer.Option("--tenant", help="Whose users and items.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def api_key() -> str | None:
    """The key that commands send to the service."""
    return os.environ.get(f"{PREFIX}API_KEY")


def require_writable(folder: Path) -> None:
    """Check before minutes of work that the folder of --out can be written to after them.

    Raises:
        UserError: it can't.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"--out: nothing can be written to {folder} ({error.strerror or error}): name another folder"
        ) from error
