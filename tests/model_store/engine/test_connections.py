"""What `Engine` promises about its connections: kept, bounded, direct, and silent about the key."""

import asyncio
import contextlib
import socket
import traceback
from collections.abc import AsyncIterator

import pytest

from model_store.engine.client import MAX_ANSWER_BYTES
from model_store.engine.engine import Engine
from model_store.engine.errors import BadAnswer, ConnectionLost, EngineRejected
from model_store.prompts import PromptSet
from model_store.views import InteractionView, ItemView, UserView
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request

PROMPTS = PromptSet.built_in("default")
CHAT = "/v1/chat/completions"
BLOCK = (InteractionView("like", ItemView("Red Harbour")),)

pytestmark = pytest.mark.usefixtures("quick_retries")


@contextlib.asynccontextmanager
async def speaking(answer: bytes) -> AsyncIterator[str]:
    """A server that answers every connection's first words with `answer` and hangs up; its URL."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def asking(url: str, **options: object) -> AsyncIterator[Engine]:
    engine = Engine(url, "fake", PROMPTS, **options)  # type: ignore[arg-type]
    try:
        yield engine
    finally:
        await engine.close()


async def test_calls_one_after_the_other_share_a_connection(fake: FakeVllm) -> None:
    async with asking(fake.url) as engine:
        await engine.check()
        for _ in range(5):
            await engine.summarize("", BLOCK)
    assert len(fake.requests) == 7
    assert len({request.client for request in fake.requests}) == 1


async def test_calls_at_the_same_time_use_no_more_connections_than_requests_in_flight(fake: FakeVllm) -> None:
    async def slow(request: Request) -> Reply:
        await fake.crowded(12)
        await asyncio.sleep(0.005)
        return fake.default(request)

    fake.replies[CHAT] = slow
    async with asking(fake.url, max_concurrent_calls=12) as engine:
        await asyncio.gather(*(engine.summarize("", BLOCK) for _ in range(60)))
    assert fake.most_in_flight == 12
    assert len({request.client for request in fake.requests}) <= 12


async def test_closing_hangs_up() -> None:
    hung_up = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        while await reader.read(4096):
            pass
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        async with asking(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as engine:
            with pytest.raises(BadAnswer):
                await engine.summarize("", BLOCK)
            assert not hung_up.is_set()
        await asyncio.wait_for(hung_up.wait(), 60)


def test_an_engine_may_be_made_before_the_event_loop() -> None:
    engine = Engine("http://127.0.0.1:9", "fake", PROMPTS)

    async def ask() -> None:
        with pytest.raises(ConnectionLost):
            await engine.summarize("", BLOCK)
        await engine.close()

    asyncio.run(ask())


async def test_an_engine_that_never_asked_closes() -> None:
    await Engine("http://127.0.0.1:9", "fake", PROMPTS).close()


async def test_a_server_that_does_not_take_connections_is_given_up_after_the_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, contextlib.ExitStack() as waiting:
        # Fills the queue of connections that are not accepted: the next one is not answered at all.
        for _ in range(2):
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                caller.connect(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with asking(url, connect_timeout_s=0.05, timeout_s=60) as engine:
            with pytest.raises(ConnectionLost):
                await engine.summarize("", BLOCK)


async def test_a_redirect_is_refused_and_not_followed(fake: FakeVllm) -> None:
    fake.replies[CHAT] = lambda _: (307, b"")
    fake.headers.append((b"location", f"{fake.url}/elsewhere".encode()))
    async with asking(fake.url) as engine:
        with pytest.raises(EngineRejected, match="answered 307"):
            await engine.summarize("", BLOCK)
    assert fake.paths() == [CHAT]


async def test_the_environments_proxies_are_not_used(fake: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with asking(fake.url) as engine:
        assert await engine.summarize("", BLOCK) == "A calm harbour."


async def test_a_request_larger_than_a_mebibyte_arrives_whole(fake: FakeVllm) -> None:
    items = [ItemView(f"Tower {n} " + "x" * 180, description="d" * 390) for n in range(2500)]
    async with asking(fake.url) as engine:
        assert len(await engine.score(UserView("harbours"), items)) == len(items)
    documents = fake.requests[0].body["documents"]
    assert sum(map(len, documents)) > 2**20
    assert documents[-1] == PROMPTS.rank_item(items[-1])


async def test_an_answer_without_end_is_cut_off(fake: FakeVllm) -> None:
    fake.replies[CHAT] = lambda _: (200, b" " * (MAX_ANSWER_BYTES + 1))
    async with asking(fake.url) as engine:
        with pytest.raises(BadAnswer, match="more than") as caught:
            await engine.summarize("", BLOCK)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
    ],
    ids=["nothing", "no HTTP", "half a body", "a broken chunk", "broken compression", "an endless header"],
)
async def test_a_broken_answer_is_a_lost_connection_and_does_not_tell_the_key(answer: bytes) -> None:
    async with speaking(answer) as url, asking(url, api_key="k3y-of-the-server") as engine:
        with pytest.raises(ConnectionLost) as caught:
            await engine.summarize("", BLOCK)
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error)
    assert "k3y" not in shown + repr(error.__cause__)


async def test_a_key_that_no_header_can_hold_is_a_lost_connection_and_not_shown(fake: FakeVllm) -> None:
    async with asking(fake.url, api_key="k3y\r\nof-the-server") as engine:
        with pytest.raises(ConnectionLost) as caught:
            await engine.summarize("", BLOCK)
    assert "k3y" not in "".join(traceback.format_exception(caught.value))
    assert fake.requests == []


async def test_a_user_name_and_password_in_the_url_are_sent_and_never_shown(fake: FakeVllm) -> None:
    url = fake.url.replace("://", "://user:p%40ss@")
    async with asking(url) as engine:
        await engine.check()
        assert engine.url == fake.url
    assert fake.requests[0].headers["authorization"] == "Basic dXNlcjpwQHNz"
    async with asking("http://user:p%40ss@127.0.0.1:9") as engine:
        with pytest.raises(ConnectionLost) as lost:
            await engine.summarize("", BLOCK)
        with pytest.raises(ConnectionLost) as unchecked:
            await engine.check()
    for error in (lost, unchecked):
        shown = "".join(traceback.format_exception(error.value))
        assert "127.0.0.1:9" in shown
        assert "p%40ss" not in shown
        assert "p@ss" not in shown
