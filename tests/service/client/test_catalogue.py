"""Bulk import into a real gateway: every item arrives once, whatever fails in between."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from model_store.errors import UserError
from service.client import client as http_client
from service.client import source as import_source
from service.client.catalogue import import_catalogue
from service.client.checkpoint import Checkpoint, Tally
from service.client.client import ServiceClient, ServiceError
from service.client.source import Source
from service.settings.limits import LimitSettings
from tests.service.conftest import Gateway, OpenGateway
from tests.service.pictures.pictures import picture
from tests.service.serving import until

Answer = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


class Transport(httpx.AsyncBaseTransport):
    """Sends to the gateway, unless `meddle` answers or raises first."""

    def __init__(self, gateway: Gateway, meddle: Answer | None = None) -> None:
        self._app = httpx.ASGITransport(gateway.app)
        self._meddle = meddle
        self.requests: list[list[dict[str, Any]]] = []
        self._calls: list[asyncio.Task[httpx.Response]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(orjson.loads(request.content))
        if self._meddle is not None and (answer := await self._meddle(request)):
            return answer
        # As over a real socket, a caller that stops waiting does not stop the gateway.
        self._calls.append(asyncio.create_task(self._app.handle_async_request(request)))
        return await asyncio.shield(self._calls[-1])

    async def aclose(self) -> None:
        await asyncio.gather(*self._calls)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_source, "BATCH_ITEMS", 10)
    monkeypatch.setattr(http_client, "RETRY_INITIAL_S", 0.01)


def write(folder: Path, count: int = 100, *more: dict[str, Any]) -> Source:
    lines = [{"item_id": f"i{number}", "title": f"Title {number}"} for number in range(count)]
    (folder / "items.jsonl").write_bytes(b"\n".join(map(orjson.dumps, [*lines, *more])))
    return Source(folder)


async def run(source: Source, transport: Transport, folder: Path, rejects: Path | None = None) -> Tally:
    checkpoint = Checkpoint(folder, source, "http://t")
    async with ServiceClient("http://t", transport=transport) as client:
        return await import_catalogue(client, source, lambda tally: None, checkpoint=checkpoint, rejects=rejects)


def open_files() -> set[str]:
    return {os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()}


async def titles(gateway: Gateway) -> dict[str, str]:
    items, _ = await gateway.store.items.page(1000)
    return {item.item_id: item.title for item in items}


async def test_every_line_is_stored_and_the_checkpoint_goes(gateway: Gateway, tmp_path: Path) -> None:
    transport = Transport(gateway)
    tally = await run(write(tmp_path), transport, tmp_path / "imports")
    assert (tally.stored, tally.rejected, tally.line) == (100, 0, 100)
    assert len(await titles(gateway)) == 100
    assert len(transport.requests) == 10
    assert list((tmp_path / "imports").iterdir()) == []


async def test_pictures_that_are_fetched_later_are_counted(gateway: Gateway, tmp_path: Path) -> None:
    item = {"item_id": "far", "title": "T", "image_url": "https://example.com/a.png"}
    tally = await run(write(tmp_path, 3, item), Transport(gateway), tmp_path / "imports")
    assert (tally.stored, tally.pictures_pending, tally.pictures_refused) == (4, 1, 0)


async def test_rejected_lines_are_reported_by_number_and_stop_nothing(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/good.png").write_bytes(picture())
    (tmp_path / "images/bad.png").write_bytes(b"no picture")
    source = write(
        tmp_path,
        11,
        {"item_id": "good", "title": "T", "image": "good.png"},
        {"item_id": "bad", "title": "T", "image": "bad.png"},
        {"item_id": "nameless"},
        {"item_id": "absent", "title": "T", "image": "absent.png"},
    )
    with source.path.open("ab") as file:
        file.write(b"\n" + b'{"item_id": "x"}\n' * 30)
    rejects = tmp_path / "rejects.jsonl"
    tally = await run(source, Transport(gateway), tmp_path / "imports", rejects=rejects)
    assert (tally.stored, tally.rejected, tally.pictures_refused) == (13, 32, 1)
    written = [orjson.loads(line) for line in rejects.read_bytes().splitlines()]
    assert [one["line"] for one in written] == [13, 14, 15, *range(16, 46)]
    assert [one["code"] for one in written[:4]] == [
        "picture_refused",
        "invalid_request",
        "malformed_line",
        "invalid_request",
    ]
    assert (written[1]["item_id"], written[1]["detail"]) == ("nameless", "title: is missing")
    assert [one.line for one in tally.first] == [one["line"] for one in written[:20]]


async def test_a_busy_service_is_waited_for_as_long_as_it_asks(gateway: Gateway, tmp_path: Path) -> None:
    refusals = [429, 503, 429]

    async def busy(request: httpx.Request) -> httpx.Response | None:
        if not refusals:
            return None
        return httpx.Response(refusals.pop(), headers={"Retry-After": "0"}, request=request)

    assert (await run(write(tmp_path), Transport(gateway, busy), tmp_path)).stored == 100


async def test_a_restarting_service_is_waited_for(gateway: Gateway, tmp_path: Path) -> None:
    calls = 0

    async def away(request: httpx.Request) -> None:
        nonlocal calls
        calls += 1
        if 5 <= calls < 25:
            raise httpx.ConnectError("refused")

    assert (await run(write(tmp_path), Transport(gateway, away), tmp_path)).stored == 100
    assert len(await titles(gateway)) == 100


async def test_a_service_that_never_answered_is_reported_at_once(gateway: Gateway, tmp_path: Path) -> None:
    async def away(request: httpx.Request) -> None:
        raise httpx.ConnectError("refused")

    with pytest.raises(ServiceError, match="not reachable"):
        await run(write(tmp_path), Transport(gateway, away), tmp_path)


async def test_the_next_run_resumes_where_the_last_one_stopped(gateway: Gateway, tmp_path: Path) -> None:
    async def full(request: httpx.Request) -> httpx.Response | None:
        wanted = any(item["item_id"] == "i55" for item in orjson.loads(request.content))
        return httpx.Response(500, request=request) if wanted else None

    source, imports = write(tmp_path), tmp_path / "imports"
    source.path.write_bytes(source.path.read_bytes().replace(b'"Title 3"', b'""'))
    source = Source(tmp_path)
    rejects = tmp_path / "rejects.jsonl"
    with pytest.raises(ServiceError, match="500"):
        await run(source, Transport(gateway, full), imports, rejects=rejects)
    # Written by a run that was killed before its checkpoint.
    with rejects.open("ab") as file:
        file.write(b'{"line": 51}\n')
    again = Transport(gateway)
    tally = await run(source, again, imports, rejects=rejects)
    assert (tally.stored, tally.rejected) == (99, 1)
    assert min(item["item_id"] for items in again.requests for item in items) == "i50"
    assert [orjson.loads(line)["line"] for line in rejects.read_bytes().splitlines()] == [4]
    assert len(await titles(gateway)) == 99


async def test_a_failed_import_closes_its_source(gateway: Gateway, tmp_path: Path) -> None:
    """A file that only the garbage collector closes is a warning in whatever test runs at that time."""

    async def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, request=request)

    source = write(tmp_path)
    with pytest.raises(ServiceError, match="500"):
        await run(source, Transport(gateway, broken), tmp_path / "imports")
    assert str(source.path) not in open_files()


async def test_a_changed_source_starts_from_the_beginning(gateway: Gateway, tmp_path: Path) -> None:
    source, imports = write(tmp_path), tmp_path / "imports"
    Checkpoint(imports, source, "http://t").write(Tally(line=50, offset=source.size // 2, stored=50))
    os.utime(source.path, (1, 1))
    transport = Transport(gateway)
    await run(Source(tmp_path), transport, imports)
    assert len(transport.requests) == 10


async def test_with_a_damaged_checkpoint_an_import_starts_from_the_beginning(gateway: Gateway, tmp_path: Path) -> None:
    source = write(tmp_path)
    checkpoint = Checkpoint(tmp_path / "imports", source, "http://t")
    checkpoint.write(Tally())
    checkpoint.path.write_bytes(b'{"line": 5')
    assert (await run(source, Transport(gateway), tmp_path / "imports")).stored == 100


async def test_rejected_lines_that_cannot_be_written_are_reported_and_the_next_run_resumes(
    gateway: Gateway, tmp_path: Path
) -> None:
    source, imports = write(tmp_path, 5, {"item_id": "nameless"}), tmp_path / "imports"
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(UserError, match="full can't be written: "):
        await run(source, Transport(gateway), imports, rejects=full)
    assert (await run(source, Transport(gateway), imports)).rejected == 1


async def test_rejected_lines_never_overwrite_what_is_imported(gateway: Gateway, tmp_path: Path) -> None:
    source = write(tmp_path)
    before = source.path.read_bytes()
    (tmp_path / "link").symlink_to(source.path)
    for same in (source.path, tmp_path / "link"):
        with pytest.raises(UserError, match="use another file"):
            await run(source, Transport(gateway), tmp_path / "imports", rejects=same)
    assert source.path.read_bytes() == before


async def test_a_checkpoint_that_cannot_be_written_is_named(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "imports").write_text("a file")
    with pytest.raises(UserError, match=r"imports/\w+\.json can't be written: "):
        await run(write(tmp_path), Transport(gateway), tmp_path / "imports")


async def test_of_two_lines_of_one_item_the_last_counts(gateway: Gateway, tmp_path: Path) -> None:
    """The first call that holds the item is the slowest."""
    slow = True

    async def meddle(request: httpx.Request) -> None:
        nonlocal slow
        if slow and b'"i5"' in request.content:
            slow = False
            await asyncio.sleep(0.3)

    source = write(tmp_path, 30, {"item_id": "i5", "title": "The last"})
    await run(source, Transport(gateway, meddle), tmp_path)
    assert (await titles(gateway))["i5"] == "The last"


async def test_a_batch_that_is_too_large_is_halved_and_an_item_that_is_is_rejected(
    open_gateway: OpenGateway, tmp_path: Path
) -> None:
    async with open_gateway(limits=LimitSettings(bulk_items=3, body_bytes=1000)) as gateway:
        huge, more = {"item_id": "huge", "title": "T", "description": "x" * 2000}, {"item_id": "more", "title": "T"}
        source = write(tmp_path, 23, huge, more, {"item_id": "nameless"}, {**more, "title": "Again"})
        tally = await run(source, Transport(gateway), tmp_path)
        assert (tally.stored, tally.rejected) == (24 + 1, 2)
        rejected = [(one.line, one.item_id, one.code) for one in tally.first]
        assert rejected == [(24, "huge", "body_too_large"), (26, "nameless", "invalid_request")]


async def test_few_calls_are_in_flight_and_little_is_read_ahead(gateway: Gateway, tmp_path: Path) -> None:
    running = most = 0

    async def meddle(request: httpx.Request) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await until(lambda: most == 4)
        await asyncio.sleep(0.01)
        running -= 1

    await run(write(tmp_path, 300), Transport(gateway, meddle), tmp_path)
    assert most == 4


def test_another_api_key_has_another_checkpoint(tmp_path: Path) -> None:
    """It may be that of another tenant, which has none of the items."""
    source = write(tmp_path)
    names = [Checkpoint(tmp_path, source, "http://t", key).path.name for key in (None, "one", "two", "one")]
    assert len(set(names)) == 3
    assert names[1] == names[3]
