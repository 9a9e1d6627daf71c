"""`tastestream items import`: every item arrives once, whatever fails in between."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.service.cli.conftest import Run
from tests.service.conftest import Gateway, OpenGateway
from tests.service.serving import serving, until


def write(folder: Path, count: int, *more: dict[str, Any]) -> None:
    lines = [{"item_id": f"i{number}", "title": f"Title {number}"} for number in range(count)]
    (folder / "items.jsonl").write_bytes(b"\n".join(map(orjson.dumps, [*lines, *more])))


class Gate:
    """Lets the first requests pass to the gateway, then holds all others until it is opened."""

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


async def start(folder: Path, url: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "service.cli.main", "items", "import", str(folder), "--url", url]
    environment = {**os.environ, "TASTESTREAM_DATA_DIR": str(folder)}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_an_interrupted_import_resumes_and_nothing_is_missing(
    gateway: Gateway, tmp_path: Path, how: signal.Signals
) -> None:
    write(tmp_path, 12_000)
    gate = Gate(gateway.app, passing=10)
    async with serving(gate) as url:
        process = await start(tmp_path, url)
        await until(lambda: gate.held == 4)
        process.send_signal(how)
        out, err = await process.communicate()
        if how is signal.SIGINT:
            assert process.returncode == 130
            assert b"stopped at line 5,000. Run the same command again to resume" in err
            assert b"Traceback" not in out + err
        assert await gateway.store.items.count() == 5000
        gate.open()
        process = await start(tmp_path, url)
        out, err = await process.communicate()
        assert process.returncode == 0, err
        if how is signal.SIGINT:
            assert b"resuming after line 5,000" in err
        assert b"stored 12,000 items" in out
        assert await gateway.store.items.count() == 12_000
    assert gate.calls < 24 if how is signal.SIGKILL else gate.calls == 14
    assert list((tmp_path / "imports").iterdir()) == []


async def test_a_missing_key_is_named_and_the_key_is_sent(
    open_gateway: OpenGateway, tmp_path: Path, tastestream: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text("secret")
    write(tmp_path, 3)
    async with open_gateway(api_keys_file=tmp_path / "keys") as gateway, serving(gateway.app, lifespan="off") as url:
        refused = await asyncio.to_thread(tastestream, "items", "import", str(tmp_path), "--url", url)
        monkeypatch.setenv("TASTESTREAM_API_KEY", "secret")
        stored = await asyncio.to_thread(tastestream, "items", "import", str(tmp_path), "--url", url)
    assert (refused.code, stored.code) == (1, 0)
    assert "Set TASTESTREAM_API_KEY" in refused.err


async def test_the_first_rejected_lines_are_shown_without_markup(
    gateway: Gateway, tmp_path: Path, tastestream: Run
) -> None:
    write(tmp_path, 3, *({"item_id": f"[red]x{number}"} for number in range(30)))
    async with serving(gateway.app, lifespan="off") as url:
        ended = await asyncio.to_thread(tastestream, "items", "import", str(tmp_path), "--url", url)
    assert ended.code == 1
    assert "stored 3 items, rejected 30" in ended.out
    assert "[red]x19" in ended.out
    assert "[red]x20" not in ended.out
    assert "and 10 more; --rejects FILE" in ended.out


async def test_restart_starts_from_the_beginning(
    gateway: Gateway, tmp_path: Path, tastestream: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASTESTREAM_DATA_DIR", str(tmp_path))
    write(tmp_path, 3000)
    gate = Gate(gateway.app, passing=2)
    async with serving(gate) as url:
        process = await start(tmp_path, url)
        await until(lambda: gate.held == 4)
        process.send_signal(signal.SIGINT)
        await process.communicate()
        gate.open()
        again = await asyncio.to_thread(tastestream, "items", "import", str(tmp_path), "--url", url, "--restart")
    assert again.code == 0
    assert "resuming" not in again.err
    assert gate.calls == 6
