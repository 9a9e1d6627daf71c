"""The job base: a new kind of work needs a declaration and a job, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.metrics import Metrics
from service.settings import Settings
from service.state.kinds import DERIVED, Derived
from service.state.leases import DeadLettered
from service.state.queues import Derivations
from service.state.records import Item, ItemClaim
from service.state.store import Store
from tests.redis_servers import admin_of, on_both
from tests.stores import dead_letters
from tests.workers.conftest import until
from workers.backoff import Pause, Retry
from workers.job import Job, JobUnavailable, NotNow, Outcome, ServerUnavailable, WorkFailed, committed
from workers.pool import Pool

LENGTH = Derived("length", needs="doc", result="len", model="lenby", token="lent")
ATTEMPTS = 3
RETRY = Retry(ATTEMPTS, 0.01, 0.02)
TITLE = Item("i", "title")


class LengthJob(Job[ItemClaim]):
    """Stores the length of an item's title, after the failures that the test wants."""

    def __init__(self, queue: Derivations, metrics: Metrics) -> None:
        super().__init__(queue, RETRY, metrics)
        self._queue = queue
        self.failures: dict[str, list[Exception]] = {}
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def work(self, claim: ItemClaim) -> Outcome:
        self.entered.set()
        await self.go_on.wait()
        if failures := self.failures.get(claim.key):
            raise failures.pop(0)
        return committed(await self._queue.commit(claim, str(len(claim.item.title)), "counter@1"))

    async def dead_letter(self, claim: ItemClaim, failure: WorkFailed) -> DeadLettered:
        return await self._queue.dead_letter(claim, failure.reason)


class Counter:
    """A store with the new kind, and a pool of its job."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.metrics = Metrics()
        self.job = LengthJob(store.derivations["length"], self.metrics)
        self._url = settings.redis_url or ""
        self._stop = asyncio.Event()
        pool = Pool([self.job], Pause(RETRY), 4, settings)
        self._task = asyncio.create_task(pool.run(self._stop))

    async def stop(self) -> None:
        self._stop.set()
        await self._task

    async def shows(self, item_id: str, expected: str | None) -> bool:
        with admin_of(self._url, decode_responses=True) as admin:
            return admin.hget(self.store.items._keys.item(item_id), "len") == expected

    def outcomes(self) -> dict[str, float]:
        (jobs,) = self.metrics.jobs.collect()
        return {one.labels["outcome"]: one.value for one in jobs.samples if one.name.endswith("_total") and one.value}


@pytest.fixture
async def counter(settings: Settings) -> AsyncIterator[Counter]:
    store = Store(settings, derived=(*DERIVED, LENGTH))
    counter = Counter(store, settings)
    yield counter
    await counter.stop()
    await store.close()


@on_both
async def test_a_new_item_is_worked_on_and_a_change_makes_it_due_again(counter: Counter) -> None:
    await counter.store.items.put_many([TITLE, Item("j", "other", picture="a" * 64)])
    await until(lambda: counter.shows("i", "5"))
    await until(lambda: counter.shows("j", "5"))
    await counter.store.items.put(replace(TITLE, title="longer title"))
    await until(lambda: counter.shows("i", "12"))
    assert await counter.store.descriptions.count() == 1, "other kinds of work are not touched"
    await counter.stop()
    assert counter.outcomes() == {"committed": 3}
    seconds = counter.metrics.registry.get_sample_value("tastestream_job_seconds_count", {"kind": "length"})
    assert seconds == 3


async def test_a_result_for_an_older_revision_is_lost(counter: Counter) -> None:
    counter.job.go_on.clear()
    await counter.store.items.put(TITLE)
    await counter.job.entered.wait()
    await counter.store.items.put(replace(TITLE, title="longer title"))
    counter.job.go_on.set()
    await until(lambda: counter.shows("i", "12"))
    await counter.store.items.delete("i")
    assert await counter.shows("i", None)
    await counter.stop()
    assert counter.outcomes() == {"lost": 1, "committed": 1}


async def test_failing_work_is_retried_then_dead_lettered_and_can_be_retried_again(counter: Counter) -> None:
    counter.job.failures = {"i": [WorkFailed("too_long"), RuntimeError("a mistake"), WorkFailed("too_long")]}
    await counter.store.items.put_many([TITLE, Item("j", "other")])
    await until(lambda: counter.shows("j", "5"))

    async def dead_lettered() -> bool:
        return await counter.store.dead_letters.count() == 1

    await until(dead_lettered)
    assert counter.outcomes() == {"retried": ATTEMPTS - 1, "dead_lettered": 1, "committed": 1}
    (letter,) = await dead_letters(counter.store)
    assert (letter.kind, letter.key, letter.reason) == ("length", "i", "too_long")
    assert await counter.store.dead_letters.retry(letter.id) == "retried"
    await until(lambda: counter.shows("i", "5"))


@pytest.mark.parametrize(
    "failure",
    [ServerUnavailable("down"), JobUnavailable("no folder"), NotNow(0.01)],
    ids=lambda one: type(one).__name__,
)
async def test_a_failure_of_something_else_costs_no_attempt(counter: Counter, failure: Exception) -> None:
    counter.job.failures = {"i": [failure] * 2 * ATTEMPTS + [WorkFailed("bad")]}
    await counter.store.items.put(TITLE)
    await until(lambda: counter.shows("i", "5"))
    await counter.stop()
    assert counter.outcomes() == {"released": 2 * ATTEMPTS, "retried": 1, "committed": 1}
