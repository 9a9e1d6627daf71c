"""Bulk import into a real gateway: everything arrives once, whatever breaks in between."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from rich.console import Console
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from model_store.errors import UserError
from service.cli.items import import_command
from service.client import source as import_source
from service.client.catalogue import ImportOptions, import_items
from service.client.checkpoint import Checkpoint, Tally
from service.client.client import ServiceError
from service.client.source import Source
from service.settings import LimitSettings
from tests.service.conftest import Gateway, OpenGateway
from tests.service.pictures.pictures import picture
from tests.service.serving import serving, until

Answer = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


class Transport(httpx.AsyncBaseTransport):
    """Sends to the gateway, unless `meddle` answers or raises before."""

    def __init__(self, gateway: Gateway, meddle: Answer | None = None) -> None:
        self._app = httpx.ASGITransport(gateway.app)
        self._meddle = meddle
        self.requests: list[list[dict[str, Any]]] = []
        self._calls: list[asyncio.Task[httpx.Response]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(orjson.loads(request.content))
        if self._meddle is not None and (answer := await self._meddle(request)):
            return answer
        # As over a real socket: who stops waiting for an answer does not stop the gateway.
        self._calls.append(asyncio.create_task(self._app.handle_async_request(request)))
        return await asyncio.shield(self._calls[-1])

    async def aclose(self) -> None:
        await asyncio.gather(*self._calls)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_source, "BATCH_ITEMS", 10)


def write(folder: Path, count: int = 100, *more: dict[str, Any]) -> Source:
    lines = [{"item_id": f"i{number}", "title": f"Title {number}"} for number in range(count)]
    (folder / "items.jsonl").write_bytes(b"\n".join(map(orjson.dumps, [*lines, *more])))
    return Source(folder)


async def run(source: Source, transport: Transport, folder: Path, **options: Any) -> Tally:
    given = ImportOptions(**{"poll_s": 0.01, **options})
    return await import_items(source, "http://t", folder, given, lambda tally: None, transport=transport)


async def titles(gateway: Gateway) -> dict[str, str]:
    items, _ = await gateway.parts.store.items.page(1000)
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


async def test_rejected_lines_are_told_by_number_and_stop_nothing(gateway: Gateway, tmp_path: Path) -> None:
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
    noted = [orjson.loads(line) for line in rejects.read_bytes().splitlines()]
    assert [one["line"] for one in noted] == [13, 14, 15, *range(16, 46)]
    assert [one["code"] for one in noted[:4]] == [
        "picture_refused",
        "invalid_request",
        "malformed_line",
        "invalid_request",
    ]
    assert (noted[1]["item_id"], noted[1]["detail"]) == ("nameless", "title: is missing")
    assert [one.line for one in tally.first] == [one["line"] for one in noted[:20]]


async def test_a_busy_service_is_waited_for_as_long_as_it_asks(gateway: Gateway, tmp_path: Path) -> None:
    refusals = [429, 503, 429]

    async def busy(request: httpx.Request) -> httpx.Response | None:
        if not refusals:
            return None
        return httpx.Response(refusals.pop(), headers={"Retry-After": "0"}, request=request)

    assert (await run(write(tmp_path), Transport(gateway, busy), tmp_path)).stored == 100


async def test_a_service_that_starts_anew_is_waited_for(gateway: Gateway, tmp_path: Path) -> None:
    calls = 0

    async def away(request: httpx.Request) -> None:
        nonlocal calls
        calls += 1
        if 5 <= calls < 25:
            raise httpx.ConnectError("refused")

    assert (await run(write(tmp_path), Transport(gateway, away), tmp_path)).stored == 100
    assert len(await titles(gateway)) == 100


async def test_a_service_that_was_never_there_is_told_at_once(gateway: Gateway, tmp_path: Path) -> None:
    async def away(request: httpx.Request) -> None:
        raise httpx.ConnectError("refused")

    with pytest.raises(ServiceError, match="not reachable"):
        await run(write(tmp_path), Transport(gateway, away), tmp_path)


async def test_the_next_run_goes_on_where_the_last_one_stopped(gateway: Gateway, tmp_path: Path) -> None:
    async def full(request: httpx.Request) -> httpx.Response | None:
        wanted = any(item["item_id"] == "i55" for item in orjson.loads(request.content))
        return httpx.Response(500, request=request) if wanted else None

    source, imports = write(tmp_path), tmp_path / "imports"
    source.path.write_bytes(source.path.read_bytes().replace(b'"Title 3"', b'""'))
    source = Source(tmp_path)
    rejects = tmp_path / "rejects.jsonl"
    with pytest.raises(ServiceError, match="500"):
        await run(source, Transport(gateway, full), imports, rejects=rejects)
    # Noted by a run that was killed before its checkpoint.
    with rejects.open("ab") as file:
        file.write(b'{"line": 51}\n')
    again = Transport(gateway)
    tally = await run(source, again, imports, rejects=rejects)
    assert (tally.stored, tally.rejected) == (99, 1)
    assert min(item["item_id"] for items in again.requests for item in items) == "i50"
    assert [orjson.loads(line)["line"] for line in rejects.read_bytes().splitlines()] == [4]
    assert len(await titles(gateway)) == 99


async def test_restart_and_a_changed_source_begin_anew(gateway: Gateway, tmp_path: Path) -> None:
    source, imports = write(tmp_path), tmp_path / "imports"
    half = Tally(line=50, offset=source.size // 2, stored=50)
    for change in ({"restart": True}, {}):
        Checkpoint(imports, source, "http://t").write(half)
        if not change:
            os.utime(source.path, (1, 1))
            source = Source(tmp_path)
        transport = Transport(gateway)
        await run(source, transport, imports, **change)
        assert len(transport.requests) == 10


async def test_a_damaged_checkpoint_begins_anew(gateway: Gateway, tmp_path: Path) -> None:
    source = write(tmp_path)
    checkpoint = Checkpoint(tmp_path / "imports", source, "http://t")
    checkpoint.write(Tally())
    checkpoint.path.write_bytes(b'{"line": 5')
    assert (await run(source, Transport(gateway), tmp_path / "imports")).stored == 100


async def test_rejected_lines_that_cannot_be_written_are_told_and_the_next_run_goes_on(
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
        with pytest.raises(UserError, match="name another file"):
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
        told = [(one.line, one.item_id, one.code) for one in tally.first]
        assert told == [(24, "huge", "body_too_large"), (26, "nameless", "invalid_request")]


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


class Gate:
    """In front of the gateway: lets some calls through, then holds all until it is opened."""

    def __init__(self, app: ASGIApp, passing: int) -> None:
        self._app = app
        self._passing = passing
        self._open = asyncio.Event()
        self.calls = self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.calls += 1
            if self.calls > self._passing and not self._open.is_set():
                self.held += 1
                await self._open.wait()
                await Response(status_code=503)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def open(self) -> None:
        self.calls = 0
        self._open.set()


class TestCommand:
    async def start(self, source: Source, url: str, data: Path) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "service.cli.main", "import-items", str(source.path.parent), "--url", url]
        environment = {**os.environ, "TASTESTREAM_DATA_DIR": str(data), "TASTESTREAM_API_KEY": "secret"}
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)

    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
    async def test_an_import_that_was_ended_goes_on_and_nothing_is_missing(
        self, gateway: Gateway, tmp_path: Path, how: signal.Signals
    ) -> None:
        source, imports = write(tmp_path, 12_000), tmp_path / "imports"
        gate = Gate(gateway.app, passing=10)
        async with serving(gate) as url:
            process = await self.start(source, url, tmp_path)
            await until(lambda: gate.held == 4, 60)
            process.send_signal(how)
            out, err = await process.communicate()
            if how is signal.SIGINT:
                assert process.returncode == 130
                assert b"stopped at line 5,000. Run the same command again" in err
                assert b"Traceback" not in out + err
            assert await gateway.parts.store.items.count() == 5000
            gate.open()
            process = await self.start(source, url, tmp_path)
            out, err = await process.communicate()
            assert process.returncode == 0, err
            if how is signal.SIGINT:
                assert b"going on behind line 5,000, where an earlier run stopped" in err
            assert b"stored 12,000 items" in out
            assert await gateway.parts.store.items.count() == 12_000
        assert gate.calls < 24 if how is signal.SIGKILL else gate.calls == 14
        assert list(imports.iterdir()) == []

    async def test_a_key_is_asked_for(self, open_gateway: OpenGateway, tmp_path: Path) -> None:
        keys = tmp_path / "keys"
        keys.write_text("secret")
        source = write(tmp_path, 3)
        async with open_gateway(api_keys_file=keys) as gateway, serving(gateway.app) as url:
            process = await self.start(source, url, tmp_path)
            out, err = await process.communicate()
            assert process.returncode == 0, out + err
            with pytest.raises(ServiceError, match="Set TASTESTREAM_API_KEY"):
                await asyncio.to_thread(import_command, tmp_path, url, tmp_path, ImportOptions(), Console(quiet=True))

    async def test_the_summary_shows_the_first_rejected_lines(self, gateway: Gateway, tmp_path: Path) -> None:
        write(tmp_path, 3, *({"item_id": f"[red]x{number}"} for number in range(30)))
        printed = io.StringIO()
        async with serving(gateway.app) as url:
            console = Console(file=printed, width=200)
            status = await asyncio.to_thread(import_command, tmp_path, url, tmp_path, ImportOptions(), console)
        assert status == 1
        assert "stored 3 items" in printed.getvalue()
        assert "rejected 30" in printed.getvalue()
        assert "[red]x19" in printed.getvalue()
        assert "[red]x20" not in printed.getvalue()
        assert "and 10 more; --rejects FILE" in printed.getvalue()
