"""What `Replicas` promises: users stay with their server, and a server that fails costs little."""

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.engine import replicas
from model_store.engine.engine import Engine
from model_store.engine.errors import EngineRejected, EngineTimeout, EngineUnavailable
from model_store.engine.replicas import Replicas
from model_store.prompts import PromptSet
from model_store.views import ItemView, UserView
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request, refusal, running

PROMPTS = PromptSet.built_in("default")
ITEMS = [ItemView("Red Harbour"), ItemView("Blue Tower")]
SCORES = [pytest.approx(1 / 3), pytest.approx(2 / 3)]
WAIT_S = 60.0

pytestmark = pytest.mark.usefixtures("quick_retries")


def of(urls: list[str]) -> Replicas:
    return Replicas([Engine(url, "fake", PROMPTS) for url in urls])


@asynccontextmanager
async def serving(count: int) -> AsyncIterator[tuple[list[FakeVllm], Replicas]]:
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(running()) for _ in range(count)]
        servers = of([fake.url for fake in fakes])
        stack.push_async_callback(servers.close)
        yield fakes, servers


def in_order(servers: Replicas, user_id: str, fakes: list[FakeVllm]) -> list[FakeVllm]:
    by_url = {fake.url: fake for fake in fakes}
    return [by_url[url] for url in servers.order(user_id)]


async def score(servers: Replicas, user_id: str, timeout_s: float = WAIT_S) -> list[float | None]:
    return await servers.score(user_id, UserView("likes harbours"), ITEMS, timeout_s=timeout_s)


def failing(status: int) -> Callable[[Request], Reply]:
    return lambda _: (status, refusal("no"))


async def silent(request: Request) -> Reply:
    await request.disconnected.wait()
    return 500, ""


@functools.cache
def unused(url: str) -> Engine:
    """An engine that is never asked; made once, since its certificates take a while to load."""
    return Engine(url, "fake", PROMPTS)


def ordering(urls: list[str]) -> Replicas:
    return Replicas([unused(url) for url in urls])


URLS = st.lists(st.sampled_from([f"http://ranker-{n}:8000" for n in range(9)]), min_size=2, max_size=9, unique=True)


@given(URLS, st.lists(st.text(max_size=20), min_size=1, max_size=30))
def test_a_removed_server_moves_only_its_own_users(urls: list[str], users: list[str]) -> None:
    before, after = ordering(urls), ordering(urls[1:])
    for user in users:
        assert after.order(user) == [url for url in before.order(user) if url != urls[0]]


@given(URLS, st.text(max_size=20), st.randoms())
def test_the_order_does_not_depend_on_how_the_servers_are_listed(urls: list[str], user: str, random: object) -> None:
    listed = ordering(urls).order(user)
    random.shuffle(urls)  # type: ignore[attr-defined]
    assert ordering(urls).order(user) == listed


def test_users_are_spread_evenly() -> None:
    servers = of([f"http://ranker-{n}:8000" for n in range(4)])
    counts = Counter(servers.order(f"user-{n}")[0] for n in range(4000))
    assert len(counts) == 4
    assert min(counts.values()) > 850


async def test_a_user_stays_with_one_server() -> None:
    async with serving(3) as (fakes, servers):
        for _ in range(4):
            assert await score(servers, "ana") == SCORES
        first, *others = in_order(servers, "ana", fakes)
        assert first.paths() == ["/score"] * 4
        assert [other.paths() for other in others] == [[], []]


@pytest.mark.parametrize("status", [500, 503])
async def test_the_next_server_answers_for_one_that_fails(status: int) -> None:
    async with serving(3) as (fakes, servers):
        first, second, third = in_order(servers, "ana", fakes)
        first.replies["/score"] = failing(status)
        assert await score(servers, "ana") == SCORES
        assert second.paths() == ["/score"]
        assert third.paths() == []


async def test_a_request_asks_two_servers_at_most() -> None:
    async with serving(3) as (fakes, servers):
        for fake in fakes:
            fake.replies["/score"] = failing(500)
        with pytest.raises(EngineUnavailable):
            await score(servers, "ana")
        assert sorted(len(fake.requests) for fake in fakes) == [0, 1, 1]


async def test_both_servers_share_the_time_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    async def score(self: Engine, user: UserView, items: list[ItemView], *, timeout_s: float) -> list[float | None]:
        given.append(timeout_s)
        raise EngineUnavailable("down")

    monkeypatch.setattr(Engine, "score", score)
    with pytest.raises(EngineUnavailable):
        await of(["http://a", "http://b"]).score("ana", UserView(), ITEMS, timeout_s=9.0)
    assert 9.0 >= given[0] >= given[1] > 0


async def test_a_failed_server_is_left_alone_and_then_tried_by_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, release = asyncio.get_running_loop(), asyncio.Event()
    async with serving(2) as (fakes, servers):
        first, second = in_order(servers, "ana", fakes)
        first.replies["/score"] = failing(500)
        for _ in range(5):
            assert await score(servers, "ana") == SCORES
        assert (len(first.requests), len(second.requests)) == (1, 5)

        async def slow(request: Request) -> Reply:
            await release.wait()
            return first.default(request)

        first.replies["/score"] = slow
        first.asked.clear()
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + replicas._AVOIDED_S)
        trial = asyncio.create_task(score(servers, "ana"))
        await first.asked.wait()
        assert await score(servers, "ana") == SCORES
        assert (len(first.requests), len(second.requests)) == (2, 6), "others avoid the server during the trial"
        release.set()
        assert await trial == SCORES
        await score(servers, "ana")
        assert (len(first.requests), len(second.requests)) == (3, 6), "the server is back"


async def test_a_server_that_hangs_is_avoided_after_three_timeouts() -> None:
    async with serving(2) as (fakes, servers):
        first, second = in_order(servers, "ana", fakes)
        first.replies["/score"] = silent
        for _ in range(3):
            with pytest.raises(EngineTimeout):
                await score(servers, "ana", timeout_s=0.1)
        assert second.requests == []
        assert await score(servers, "ana") == SCORES
        assert len(second.requests) == 1


async def test_a_request_that_the_model_refuses_is_not_sent_elsewhere() -> None:
    async with serving(2) as (fakes, servers):
        for fake in fakes:
            fake.replies["/score"] = failing(401)
        with pytest.raises(EngineRejected):
            await score(servers, "ana")
        assert sorted(len(fake.requests) for fake in fakes) == [0, 1]


async def test_one_working_server_is_healthy_enough() -> None:
    async with serving(2) as (fakes, servers):
        fakes[0].replies["/health"] = failing(500)
        assert await servers.healthy()
        fakes[1].replies["/health"] = failing(500)
        assert not await servers.healthy()
