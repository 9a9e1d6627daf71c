"""I1: a connection that breaks in the instant in which something is written to it, on the loop that serves."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection

from service.settings import Settings
from service.state.redis.client import Client, connect
from service.state.store import Store
from tests.service.state.conftest import Clock, break_once, event


async def abort(connection: AbstractConnection) -> None:
    """Break it, and let the loop notice."""
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
        store = await Store.connect(settings, clock)
        try:
            assert await store.events.accept([event()], clock.ms) == ["accepted"]
            assert (await store.users.read("u")).pending == 1
        finally:
            await store.close()

    broken = break_once(monkeypatch, abort, before=before)
    run(accept())
    assert broken()


def test_a_mistake_of_our_own_is_not_taken_for_a_lost_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = AbstractConnection._send_packed_command

    async def mistaken(connection: AbstractConnection, command: Any) -> None:
        if b"INFO" in command[0] and b"SETINFO" not in command[0]:
            command.misspelt()
        await send(connection, command)

    async def ask() -> None:
        client: Client = connect(settings.redis_url or "", settings.state)
        with pytest.raises(AttributeError, match="misspelt"):
            await client.info("memory")
        await client.aclose()

    monkeypatch.setattr(AbstractConnection, "_send_packed_command", mistaken)
    run(ask())


async def test_a_cancellation_that_the_client_drops_still_reaches_the_caller(
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
    store = await Store.connect(settings)
    reading = asyncio.create_task(store.users.read("u"))
    await sending.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert dropped.is_set()
    await store.close()
