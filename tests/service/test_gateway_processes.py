"""A gateway of several processes: real ones, on a real Redis."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.mmap_dict import MmapedDict

from model_store.serving.launch import free_port
from tests.faults.processes import GatewayProcess
from tests.service.serving import until

NUMBER = 2
EVENT = {"user_id": "u", "item_id": "i"}
ACCEPTED = 'tastestream_events_total{result="accepted",tenant="default"}'
SECONDS = 300.0


class Gateway:
    """A gateway of `NUMBER` processes, each request to it on a new connection."""

    def __init__(self, process: GatewayProcess, temporary: Path) -> None:
        self.process = process
        self._temporary = temporary

    @property
    def folder(self) -> Path:
        (folder,) = self._temporary.glob("tastestream-metrics-*")
        return folder

    def logged(self, event: str) -> bool:
        return event in (self._temporary / "gateway.log").read_text()

    def folder_is_gone(self) -> bool:
        return list(self._temporary.glob("tastestream-metrics-*")) == []

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def ask(self, method: str, path: str, **more: object) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.process.url, trust_env=False, timeout=SECONDS) as client:
            return await client.request(method, path, **more)  # type: ignore[arg-type]

    async def send(self, number: int) -> None:
        for _ in range(number):
            assert (
                await self.ask("POST", "/events", json={**EVENT, "event_id": os.urandom(8).hex()})
            ).status_code == 202

    async def series(self) -> dict[str, float]:
        text = (await self.ask("GET", "/metrics")).raise_for_status().text
        return {name: float(value) for name, value in re.findall(r"^(\w.*) (\S+)$", text, re.MULTILINE)}

    def accepted_by(self, number: int) -> float:
        """Events that one of the processes has accepted."""
        values = MmapedDict.read_all_values_from_file(self.folder / f"counter_{number}.db")  # type: ignore[no-untyped-call]
        accepted = '"tastestream_events_total", {"result": "accepted", "tenant": "default"}'
        return sum(value for key, value, *_ in values if accepted in key)


@pytest.fixture
async def gateway(redis_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    environment = {
        "TASTESTREAM_REDIS_URL": redis_url,
        "TASTESTREAM_DATA_DIR": str(tmp_path / "data"),
        "TASTESTREAM_PROCESSES": str(NUMBER),
        "TMPDIR": str(tmp_path),
    }
    process = GatewayProcess(free_port(), environment, tmp_path / "gateway.log")
    process.start()
    gateway = Gateway(process, tmp_path)
    try:
        await process.ready()
        await until(lambda: gateway.logged("processes_started"), SECONDS)
        yield gateway
    finally:
        children = gateway.children() if process.running else []
        process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


async def test_every_page_has_the_counts_of_all_processes_and_no_gauge_twice(gateway: Gateway) -> None:
    sent = 0
    async with asyncio.timeout(SECONDS):
        while not all(gateway.accepted_by(number) for number in range(NUMBER)):
            await gateway.send(5)
            sent += 5
    pages = [await gateway.series() for _ in range(8)]
    assert {page[ACCEPTED] for page in pages} == {sent}
    assert {page["tastestream_event_to_recents_seconds_count"] for page in pages} == {sent}
    assert {page['tastestream_pending_events{tenant="default"}'] for page in pages} == {sent}
    assert {page['tastestream_slo_target_ratio{slo="recommend"}'] for page in pages} == {0.999}
    assert {page["tastestream_redis_up"] for page in pages} == {1}
    own = (await gateway.series())["process_max_fds"]
    assert {page["process_max_fds"] for page in pages} == {own}
    assert pages[-1]["tastestream_max_connections"] % NUMBER == 0
    assert pages[-1]["process_resident_memory_bytes"] > NUMBER * 40e6
    assert pages[-1]["process_cpu_seconds_total"] >= pages[0]["process_cpu_seconds_total"] > 0


async def test_a_process_that_is_killed_is_replaced_and_no_count_falls(gateway: Gateway) -> None:
    async with asyncio.timeout(SECONDS):
        while not all(gateway.accepted_by(number) for number in range(NUMBER)):
            await gateway.send(5)
    counted = (await gateway.series())[ACCEPTED]
    before = gateway.children()
    os.kill(before[0], signal.SIGKILL)
    async with asyncio.timeout(SECONDS):
        while len(gateway.children()) < NUMBER or before[0] in gateway.children():
            # A connection that the killed process had not accepted yet is reset.
            with suppress(httpx.TransportError):
                assert (await gateway.series())[ACCEPTED] == counted
    await until(lambda: gateway.logged("process_replaced"), SECONDS)
    await gateway.send(20)
    page = await gateway.series()
    assert page[ACCEPTED] == counted + 20
    assert page["tastestream_http_connections"] == 1, "the connections of the killed process are gone"


async def test_sigterm_lets_requests_finish_and_leaves_nothing(gateway: Gateway) -> None:
    children = gateway.children()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b'{"user_id": "stream", "item_id": "a"}\n'
        begun.set()
        await go_on.wait()
        yield b'{"user_id": "stream", "item_id": "b"}\n'

    headers = {"content-type": "application/x-ndjson"}
    streamed = asyncio.create_task(gateway.ask("POST", "/events", content=lines(), headers=headers))
    await begun.wait()
    async with asyncio.timeout(SECONDS):
        while (await gateway.series())[ACCEPTED] < 1:
            pass
    stopped = asyncio.create_task(gateway.process.stop())
    port = int(gateway.process.url.rpartition(":")[2])
    await until(lambda: not answers(port), SECONDS)
    go_on.set()
    assert (await streamed).json()["accepted"] == 2
    assert await stopped == 0
    assert not any(map(lives, children))
    assert gateway.folder_is_gone()


async def test_without_their_parent_the_processes_end(gateway: Gateway) -> None:
    children = gateway.children()
    assert len(children) == NUMBER
    gateway.process.kill()
    await until(lambda: not any(map(lives, children)), SECONDS)
    assert gateway.folder_is_gone()


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway of two processes that was not started."""
    environment = {"TASTESTREAM_REDIS_URL": redis_url, "TASTESTREAM_PROCESSES": "2", "TMPDIR": str(tmp_path)}
    environment["TASTESTREAM_API_KEYS_FILE"] = str(tmp_path / "keys")
    (tmp_path / "keys").write_text("")
    gateway = GatewayProcess(free_port(), environment, tmp_path / "gateway.log")
    yield gateway
    gateway.kill()


async def test_a_port_that_is_in_use_is_a_clear_error(start: GatewayProcess, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", int(start.url.rpartition(":")[2])))
        other.listen()
        start.start()
        await until(lambda: not start.running, SECONDS)
    log = (tmp_path / "gateway.log").read_text()
    assert "can't be listened on (Address already in use)" in log
    assert log.count("error:") == 1
    assert await start.stop() == 1


async def test_what_no_process_can_start_with_is_said_once_and_ends_the_gateway(
    start: GatewayProcess, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("not a key of any kind, and of no use\n" * 2)
    start.start()
    await until(lambda: not start.running, SECONDS)
    log = (tmp_path / "gateway.log").read_text()
    assert log.count("error:") == 2, "what is wrong, and that the gateway did not start"
    assert await start.stop() == 1


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def lives(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False
