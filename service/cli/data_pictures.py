"""`tastestream data pictures`."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from model_store.data.dataset import IMAGES, ITEMS, is_file, item_line, item_rows
from model_store.data.text_files import find
from model_store.errors import UserError
from model_store.progress import Report, stages
from service.cli.dataset_files import new_file, require_writable
from service.cli.options import DatasetArgument
from service.cli.terminal import err, print_table, say, settings_or_exit
from service.metrics import Metrics
from service.pictures.decoder import PictureDecoder
from service.pictures.download import Outcome, PictureDownload
from service.pictures.fetch import PictureFetcher
from service.settings.pictures import PictureSettings


def pictures(
    folder: DatasetArgument,
    per_site: Annotated[
        int | None,
        typer.Option(help="Pictures fetched at the same time from one site.", min=1, max=64, show_default="4"),
    ] = None,
    attempts: Annotated[int, typer.Option(help="Attempts to fetch a picture.", min=1, max=20)] = 4,
    rejects: Annotated[
        Path | None, typer.Option(help="Write all failures to this file, as JSON lines.", show_default=False)
    ] = None,
) -> None:
    """Download the pictures that items name by `image_url`, and name the files in items.jsonl as `image`.

    Pictures are bounded in bytes, pixels and time, checked, and stored re-encoded, at most 512 pixels long. Addresses
    in private networks are refused. A picture that is there is not fetched again: after Ctrl-C, a crash or an outage,
    run the same command again. `TASTESTREAM_PICTURES__*` change the bounds. The exit status is 1 if some could not be
    had.

    Example:

        tastestream data pictures amazon-baby --per-site 8
    """
    settings = settings_or_exit().pictures
    if rejects is not None:
        require_writable(rejects)
    if per_site is not None:
        most = max(per_site, settings.max_concurrent_fetches)
        update = {"max_concurrent_fetches_per_site": per_site, "max_concurrent_fetches": most}
        settings = settings.model_copy(update=update)
    rows = [fields for _, fields in item_rows(folder)]
    urls = [url for fields in rows if (url := _wanted(fields, folder)) is not None]
    if not urls:
        say("no item names a picture by image_url that is not there already")
        return
    found = _Found(len(set(urls)))
    try:
        with stages() as report:
            asyncio.run(_download(folder, settings, urls, attempts, found, report))
    except KeyboardInterrupt:
        err.print(f"stopped. {found.fetched:,} pictures were stored: run the same command again to go on")
        raise typer.Exit(130) from None
    finally:
        _name_pictures(folder, rows, found.names)
    _print(found, rejects)
    raise typer.Exit(1 if found.failed else 0)


class _Found:
    """The outcomes so far."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.names: dict[str, str] = {}
        self.failed: list[Outcome] = []
        self.fetched = 0
        self._started = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        self.fetched += outcome.fetched
        if outcome.name is None:
            self.failed.append(outcome)
        else:
            self.names[outcome.url] = outcome.name

    def note(self) -> str:
        rate = self.fetched / max(1e-3, time.monotonic() - self._started)
        there = len(self.names) - self.fetched
        return f"{self.fetched:,} fetched, {there:,} there before, {len(self.failed):,} failed, {rate:.1f}/s"

    @property
    def share(self) -> float:
        return (len(self.names) + len(self.failed)) / self.total


def _wanted(fields: dict[str, Any], folder: Path) -> str | None:
    """The URL of the item's picture, unless its file is there."""
    url, image = fields.get("image_url"), fields.get("image")
    if not isinstance(url, str) or not url or (isinstance(image, str) and is_file(folder / IMAGES / image)):
        return None
    return url


async def _download(
    folder: Path, settings: PictureSettings, urls: list[str], attempts: int, found: _Found, report: Report
) -> None:
    target = folder / IMAGES
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{target} can't be written: {error.strerror or error}") from error
    fetcher, decoder = PictureFetcher(settings), PictureDecoder(settings, Metrics())

    def done(outcome: Outcome) -> None:
        found.add(outcome)
        report("pictures", found.share, found.note())

    async with AsyncExitStack() as stack:
        stack.push_async_callback(decoder.close)
        stack.push_async_callback(fetcher.close)
        await PictureDownload(target, settings, fetcher, decoder, attempts=attempts).run(urls, done)


def _name_pictures(folder: Path, rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    """Write items.jsonl again, as a whole, with the names of the files."""
    if not names:
        return
    file = folder / ITEMS
    with new_file(file, force=True) as lines:
        lines.writelines(_lines(rows, names))
    if (zipped := find(file)) != file:
        zipped.unlink()


def _lines(rows: list[dict[str, Any]], names: dict[str, str]) -> Iterator[str]:
    for fields in rows:
        name = names.get(fields.get("image_url", "")) if isinstance(fields.get("image_url"), str) else None
        yield item_line(fields | {"image": name} if name else fields)


def _print(found: _Found, rejects: Path | None) -> None:
    say(f"pictures: {found.note()}")
    if not found.failed:
        return
    reasons = Counter(outcome.reason.partition(":")[0] for outcome in found.failed)
    example = {outcome.reason.partition(":")[0]: outcome for outcome in reversed(found.failed)}
    rows = (
        (reason, f"{count:,}", example[reason].url, example[reason].reason) for reason, count in reasons.most_common()
    )
    print_table(rows, "failed", "pictures", "such as", "because")
    if rejects is None:
        say("--rejects FILE writes all of them")
        return
    with new_file(rejects, force=True) as lines:
        for outcome in found.failed:
            lines.write(json.dumps({"image_url": outcome.url, "reason": outcome.reason}) + "\n")
    say(f"all of them: {rejects}")
