"""What `Replicas` promises: users stay with their server, and a server that fails costs little."""

import asyncio
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.engine.breaker import Breaker, BreakerRules
from model_store.engine.engine import Engine
from model_store.engine.errors import CircuitOpen, EngineRejected, EngineTimeout, EngineUnavailable
from model_store.engine.replicas import Replicas
from model_store.engine.retry_budget import RetryBudget
from model_store.prompts import PromptSet
from model_store.views import ItemView, UserView
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request, refusal, running
from tests.service.serving import until

PROMPTS = PromptSet.built_in("default")
ITEMS = [ItemView("Red Harbour"), ItemView("Blue Tower")]
SCORES = [pytest.approx(1 / 3), pytest.approx(2 / 3)]
WAIT_S = 60.0
RULES = BreakerRules()

pytestmark = pytest.mark.usefixtures("quick_retries")


def of(urls: list[str], clock: Callable[[], float] = time.monotonic, share: float = 1.0) -> Replicas:
    retries = RetryBudget(share, size=1000 if share else 2, per_s=0.0)
    return Replicas(
        [Engine(url, "fake", PROMPTS, breaker=Breaker(RULES, clock=clock), retries=retries) for url in urls]
    )


@asynccontextmanager
async def serving(
    count: int, clock: Callable[[], float] = time.monotonic, share: float = 1.0
) -> AsyncIterator[tuple[list[FakeVllm], Replicas]]:
    """Args: `share` of the budget of retries; 0 allows two."""
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(running()) for _ in range(count)]
        servers = of([fake.url for fake in fakes], clock, share)
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


async def test_a_server_that_fails_is_left_alone_and_then_tried_by_a_few_requests() -> None:
    now, release = 0.0, asyncio.Event()
    async with serving(2, lambda: now) as (fakes, servers):
        first, second = in_order(servers, "ana", fakes)
        first.replies["/score"] = failing(500)
        for _ in range(RULES.run + 5):
            assert await score(servers, "ana") == SCORES
        assert (len(first.requests), len(second.requests)) == (RULES.run, RULES.run + 5)

        async def slow(request: Request) -> Reply:
            await release.wait()
            return first.default(request)

        first.replies["/score"] = slow
        now += RULES.max_open_s
        probes = [asyncio.create_task(score(servers, "ana")) for _ in range(RULES.probes)]
        await until(lambda: first.in_flight == RULES.probes)
        assert await score(servers, "ana") == SCORES
        assert len(first.requests) == RULES.run + RULES.probes, "others go elsewhere during the probes"
        release.set()
        assert await asyncio.gather(*probes) == [SCORES] * RULES.probes
        await score(servers, "ana")
        assert len(first.requests) == RULES.run + RULES.probes + 1, "the server is back"


async def test_a_server_that_hangs_is_left_alone_after_a_run_of_timeouts() -> None:
    async with serving(2) as (fakes, servers):
        first, second = in_order(servers, "ana", fakes)
        for _ in range(3):
            await score(servers, "ana")
        first.replies["/score"] = silent
        for _ in range(RULES.run):
            with pytest.raises(EngineTimeout):
                await score(servers, "ana", timeout_s=1.0)
        assert second.requests == []
        assert await score(servers, "ana") == SCORES
        assert len(second.requests) == 1


async def test_with_two_open_breakers_the_third_server_answers() -> None:
    async with serving(3) as (fakes, servers):
        first, second, third = in_order(servers, "ana", fakes)
        for fake in (first, second):
            fake.replies["/score"] = failing(500)
        for _ in range(RULES.run):
            with pytest.raises(EngineUnavailable):
                await score(servers, "ana")
        assert await score(servers, "ana") == SCORES
        assert third.paths() == ["/score"]


async def test_when_no_server_may_be_asked_the_answer_is_immediate() -> None:
    async with serving(2) as (fakes, servers):
        for fake in fakes:
            fake.replies["/score"] = failing(500)
        for _ in range(RULES.run):
            with pytest.raises(EngineUnavailable):
                await score(servers, "ana")
        asked = [len(fake.requests) for fake in fakes]
        with pytest.raises(CircuitOpen):
            await score(servers, "ana")
        assert asked == [len(fake.requests) for fake in fakes] == [RULES.run] * 2


async def test_without_a_budget_no_second_server_is_asked() -> None:
    async with serving(2, share=0.0) as (fakes, servers):
        first, second = in_order(servers, "ana", fakes)
        first.replies["/score"] = lambda request: failing(500)(request) if failed else first.default(request)
        failed = True
        for _ in range(2):
            assert await score(servers, "ana") == SCORES
        with pytest.raises(EngineUnavailable):
            await score(servers, "ana")
        assert (len(first.requests), len(second.requests)) == (3, 2)


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


async def test_a_server_that_can_not_be_closed_does_not_keep_others_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    async def failing(self: Engine) -> None:
        closed.append(self.url)
        raise OSError("no such connection")

    monkeypatch.setattr(Engine, "close", failing)
    servers = of(["http://a", "http://b"])
    with pytest.raises(OSError, match="no such connection"):
        await servers.close()
    assert sorted(closed) == servers.urls
