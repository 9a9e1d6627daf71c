"""`tastestream items`: the catalogue of a running service."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from model_store.progress import Report, stages
from service.cli.options import DEFAULT_URL, Layout, Url, api_key
from service.cli.terminal import err, print_table, say, settings_or_exit
from service.client.catalogue import import_catalogue
from service.client.checkpoint import Checkpoint, Tally
from service.client.client import ServiceClient, ServiceError
from service.client.source import Source
from service.settings import PREFIX

app = typer.Typer(no_args_is_help=True, help="Import a catalogue.")

_TIMEOUT_S = 300.0
_UNAUTHORIZED = 401
_HOW_TO_RESUME = "Run the same command again to resume; --restart starts from the beginning."


@app.command("import")
def import_items(
    source: Annotated[
        Path, typer.Argument(help="An items.jsonl, a table (CSV, TSV), a product feed, or a folder that contains one.")
    ],
    url: Url = DEFAULT_URL,
    rejects: Annotated[
        Path | None, typer.Option(help="Write all rejected lines to this file, as JSON lines.", show_default=False)
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start from the beginning instead of resuming.")] = False,
    layout: Layout = None,
) -> None:
    """Import a catalogue of any size into a running service, over HTTP.

    A line is an item in the form of `PUT /items` with its `item_id`; `image` may name a file in `images/`. Files may be
    compressed with gzip and of any common encoding. The layouts of `data import` are read too. After Ctrl-C, a crash or
    an outage the same command resumes where it stopped; its checkpoint is in the data folder. Importing an item twice
    is harmless. Set `TASTESTREAM_API_KEY` if the service requires a key. The exit status is 1 if lines were rejected.

    Example:

        tastestream items import feed.tsv --rejects rejected.jsonl
    """
    given = Source(source, layout)
    if given.note:
        err.print(given.note, markup=False, highlight=False, soft_wrap=True)
    checkpoint = Checkpoint(settings_or_exit().data_dir / "imports", given, url, api_key())
    if restart:
        checkpoint.remove()
    tally = _import(given, url, checkpoint, rejects)
    _print_rejected(tally, rejects)
    raise typer.Exit(1 if tally.rejected else 0)


def _import(source: Source, url: str, checkpoint: Checkpoint, rejects: Path | None) -> Tally:
    async def running(report: Report) -> Tally:
        async with ServiceClient(url, api_key=api_key(), timeout_s=_TIMEOUT_S) as client:
            return await import_catalogue(
                client, source, lambda tally: rate.show(tally, report), checkpoint=checkpoint, rejects=rejects
            )

    rate = _Rate(source.size)
    try:
        with stages() as report:
            tally = asyncio.run(running(report))
    except KeyboardInterrupt:
        err.print(f"stopped at line {rate.line:,}. {_HOW_TO_RESUME}", highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    except ServiceError as error:
        hint = f" Set {PREFIX}API_KEY to one of its keys." if error.status == _UNAUTHORIZED else ""
        stopped = f" Stopped at line {rate.line:,}. {_HOW_TO_RESUME}" if rate.line else ""
        message = f"{str(error).rstrip('.')}.{hint}{stopped}"
        raise ServiceError(message, status=error.status, problem=error.problem) from error
    _print_counts(tally, rate)
    return tally


class _Rate:
    """The progress of this run, without earlier runs."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._started = time.monotonic()
        self._before: int | None = None
        self._stored = 0
        self.line = 0

    def show(self, tally: Tally, report: Report) -> None:
        if self._before is None:
            self._before = tally.stored
            if tally.line:
                resuming = f"resuming after line {tally.line:,}; --restart starts from the beginning"
                err.print(resuming, highlight=False, soft_wrap=True)
        self.line, self._stored = tally.line, tally.stored - self._before
        done = tally.offset / self._size if self._size else 1.0
        note = f"{tally.stored:,} stored, {tally.rejected:,} rejected, {self.items_per_s:,.0f} items/s"
        report("importing items", done, note)

    @property
    def items_per_s(self) -> float:
        return self._stored / max(1e-3, time.monotonic() - self._started)


def _print_counts(tally: Tally, rate: _Rate) -> None:
    parts = [f"stored {tally.stored:,} items"]
    if tally.duplicates:
        parts.append(f"{tally.duplicates:,} lines were replaced by later lines of the same item")
    parts += [f"rejected {tally.rejected:,}", f"pictures refused {tally.pictures_refused:,}"]
    if tally.pictures_pending:
        parts.append(f"pictures that workers still have to fetch {tally.pictures_pending:,}")
    say(f"{', '.join(parts)} ({rate.items_per_s:,.0f} items/s)")


def _print_rejected(tally: Tally, rejects: Path | None) -> None:
    if not tally.first:
        return
    rows = ((f"{one.line:,}", one.item_id, one.code, one.detail) for one in tally.first)
    print_table(rows, "line", "item", "code", "reason")
    more = tally.rejected + tally.pictures_refused - len(tally.first)
    if rejects is not None:
        say(f"all of them: {rejects}")
    elif more:
        say(f"and {more:,} more; --rejects FILE writes all of them")
