"""I1: connections that break while they are written to, on the event loop of the gateway."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, ResponseError

from service.settings import Settings
from service.state.redis.client import Client, connect
from service.state.redis.retries import budget
from service.state.store import Store
from tests.conftest import RedisServer
from tests.service.state.conftest import Clock, break_once, event


async def abort(connection: AbstractConnection) -> None:
    """Break the connection, and let the event loop notice."""
    connection._writer.transport.abort()
    await asyncio.sleep(0.05)


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@pytest.mark.parametrize("before", [b"SETINFO", b"EVALSHA"])
def test_a_script_is_sent_again(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    async def accept() -> None:
        store = Store(settings, clock)
        try:
            assert await store.events.accept([event()], clock.ms) == ["accepted"]
            assert (await store.users.read("u")).pending == 1
        finally:
            await store.close()

    broken = break_once(monkeypatch, abort, before=before)
    run(accept())
    assert broken()


def test_a_bug_of_our_own_is_not_reported_as_a_lost_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = AbstractConnection._send_packed_command

    async def mistaken(connection: AbstractConnection, command: Any) -> None:
        if b"INFO" in command[0] and b"SETINFO" not in command[0]:
            command.misspelt()
        await send(connection, command)

    async def ask() -> None:
        client: Client = connect(settings.redis_url or "", settings.state, budget(settings.state))
        with pytest.raises(AttributeError, match="misspelt"):
            await client.info("memory")
        await client.aclose()

    monkeypatch.setattr(AbstractConnection, "_send_packed_command", mistaken)
    run(ask())


async def test_a_cancellation_that_the_client_drops_reaches_the_caller_and_leaves_no_reply(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, dropped = asyncio.Event(), asyncio.Event()
    send = AbstractConnection.send_packed_command

    async def drop_the_cancellation(connection: AbstractConnection, *arguments: Any) -> None:
        await send(connection, *arguments)
        if b"EVALSHA" in arguments[0][0]:
            sending.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                dropped.set()

    monkeypatch.setattr(AbstractConnection, "send_packed_command", drop_the_cancellation)
    store = Store(settings)
    reading = asyncio.create_task(store.users.read("u"))
    await sending.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert dropped.is_set()
    monkeypatch.undo()
    assert await store.events.accept([event()], 0) == ["accepted"], "not the reply to the cancelled call"
    await store.close()


async def test_a_reply_that_comes_after_its_caller_was_cancelled_is_not_taken_for_the_next(
    redis_server: RedisServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a connection is returned, the client's pool finds replies that have arrived, but not later ones."""
    client: Client = connect(
        redis_server.url, settings.state.model_copy(update={"redis_connections": 1}), budget(settings.state)
    )
    await client.set("key", "value")
    sent = asyncio.Event()
    send = AbstractConnection.send_packed_command

    async def drop_the_cancellation(connection: AbstractConnection, *arguments: Any) -> None:
        await send(connection, *arguments)
        if b"BLPOP" in arguments[0][0]:
            sent.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", drop_the_cancellation)
    waiting = asyncio.create_task(client.execute_command("BLPOP", "empty", "0.5"))
    await sent.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await client.get("key") == b"value", "not the late reply to BLPOP"
    await client.aclose()


async def test_replies_that_arrive_together_are_kept_apart(settings: Settings) -> None:
    client: Client = connect(settings.redis_url or "", settings.state, budget(settings.state))
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(100):
            pipeline.set(f"key-{number}", number)
            pipeline.execute_command("HGET" if number == 50 else "GET", f"key-{number}", *["field"] * (number == 50))
        answers = await pipeline.execute(raise_on_error=False)
    await client.aclose()
    assert answers[0::2] == [True] * 100
    assert isinstance(answers[101], ResponseError)
    assert answers[1:101:2] + answers[103::2] == [f"{number}".encode() for number in range(100) if number != 50]


async def test_a_connection_is_given_up_when_its_redis_still_loads(settings: Settings) -> None:
    connections = 0

    async def loading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while received := await reader.read(1 << 16):
            asked = received.count(b"*")
            writer.write(b"+OK\r\n" * asked if b"GET" not in received else b"+OK\r\n-LOADING the data set\r\n")
        writer.close()

    server = await asyncio.start_server(loading, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client: Client = connect(url, settings.state, budget(settings.state))
    pipeline = client.pipeline(transaction=False).get("a").get("b")
    with pytest.raises(BusyLoadingError):
        await pipeline.execute(raise_on_error=False)
    assert connections > 1, "each try has its own connection"
    await client.aclose()
    server.close()
