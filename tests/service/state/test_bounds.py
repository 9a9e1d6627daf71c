"""I8: every key is bounded by a count, by bytes or by a time to live."""

from collections.abc import Callable

import pytest

from service.settings import Settings
from service.settings.state import StateSettings
from service.state import new_items
from service.state.deleted_items import NOTES
from service.state.early import MOST
from service.state.records import Item
from service.state.redis.scripts import SCORE_BYTES, SPARE_RECENTS
from service.state.store import Store
from tests.redis_servers import Admin, admin_of, all_keys, on_one_redis
from tests.service.state.conftest import Clock, event

LIMITS = {
    "recents": 5,
    "seen_items": 6,
    "dedupe_ids": 16,
    "max_pending": 30,
    "dead_letters": 3,
    "max_backlog": 4 * 400,
    "event_log_size": 4 * 100,
    "summary_versions": 2,
    "neighbours": 8,
    "popular": 20,
    "score_cache_items": 10,
}
Bound = Callable[[Admin, str], bool]


def expires(admin: Admin, key: str) -> bool:
    return 0 < int(admin.pttl(key)) <= 2 * 86_400_000


BOUNDS: dict[str, Bound] = {
    "summarize_due": lambda admin, key: admin.zcard(key) <= 60,
    "describe_due": lambda admin, key: admin.zcard(key) <= 60,
    "fence": lambda admin, key: admin.strlen(key) == 16,
    "dead": lambda admin, key: admin.xlen(key) <= LIMITS["dead_letters"],
    "backlog": lambda admin, key: 0 <= int(admin.get(key)) <= LIMITS["max_backlog"] / 4,
    "log": lambda admin, key: admin.xlen(key) <= LIMITS["event_log_size"] / 4 + 100,
    "index": lambda admin, key: admin.zcard(key) <= 60,
    "t": lambda admin, key: admin.zcard(key) <= 60,
    "u": lambda admin, key: admin.strlen(key) < 6 * 4000 + 1000,
    "p": lambda admin, key: admin.llen(key) <= LIMITS["max_pending"],
    "summarize_lease": lambda admin, key: admin.hlen(key) <= 3,
    "describe_lease": lambda admin, key: admin.hlen(key) <= 3,
    "r": lambda admin, key: admin.llen(key) <= LIMITS["recents"] + SPARE_RECENTS,
    "i": lambda admin, key: admin.llen(key) <= LIMITS["seen_items"] * 1.25,
    "d": lambda admin, key: admin.strlen(key) <= LIMITS["dedupe_ids"] * 10 and expires(admin, key),
    "s": lambda admin, key: admin.strlen(key) <= LIMITS["score_cache_items"] * SCORE_BYTES + 99 and expires(admin, key),
    "x": lambda admin, key: admin.strlen(key) == 13 and expires(admin, key),
    "y": lambda admin, key: admin.llen(key) <= LIMITS["dead_letters"],
    "m": lambda admin, key: admin.hlen(key) <= 9,
    "v": expires,
    "c": lambda admin, key: admin.zcard(key) <= LIMITS["neighbours"] * 1.25,
    "popular": lambda admin, key: admin.zcard(key) <= LIMITS["popular"] * 1.25,
    "deleted_items": lambda admin, key: admin.zcard(key) <= NOTES,
    "early": lambda admin, key: admin.zcard(key) <= MOST,
    "new": lambda admin, key: admin.zcard(key) <= new_items.MOST,
    "seeded": lambda admin, key: admin.scard(key) <= 2,
    "updated": lambda admin, key: admin.hlen(key) <= 2,
}


def family(key: str) -> str:
    """The part of a key's name that says what it holds."""
    parts = key.split(":")
    return "c" if parts[1].startswith("{c") else parts[2] if len(parts) > 2 else parts[1]


@pytest.fixture
def state() -> dict[str, int]:
    return LIMITS


async def use_everything(store: Store, clock: Clock, round_: int) -> None:
    """Fifty users and items, each with everything that can happen to it."""
    for number in range(50):
        user = f"u{number}"
        await store.events.accept([event(user, f"{round_}-{n}") for n in range(12)], clock())
        read = await store.users.read(user)
        scores = {f"i{n + round_ * 12}": (1, 0.5) for n in range(12)}
        await store.scores.write(user, "key", scores, read.read_at_ms + 1)
    for claim in await store.summaries.claim(40):
        number = int(claim.key[1:])
        outcomes = (
            store.summaries.commit(claim, "x" * 4000, "model@1", "prompt", 3),
            store.summaries.dead_letter(claim, "bad", 3),
            store.summaries.fail(claim, 1),
        )
        for index, outcome in enumerate(outcomes):
            if index == number % 3:
                await outcome
            else:
                outcome.close()
    await store.items.put_many(
        [Item(f"i{n}", "title", genres=(f"genre-{(n + round_) % 5}",), picture=f"{round_ % 2}" * 64) for n in range(50)]
    )
    for held in await store.descriptions.claim(30):
        await store.descriptions.commit(held, "text", "m")
    for held in await store.descriptions.claim(10):
        await store.descriptions.dead_letter(held, "bad")
    for held in await store.descriptions.claim(3):
        await store.descriptions.fail(held, 1)
    await store.cooccurrence.record([f"i{n}" for n in range(25)], [f"i{round_}-{n}" for n in range(10)])
    await store.cooccurrence.record(
        [f"late-{round_}-{n}" for n in range(12)], ["i1"], {f"late-{round_}-{n}" for n in range(12)}
    )
    await store.cooccurrence.seed(f"model@{round_ % 2}", [("i1", 1)], [("i1", "i2", 1)])
    await store.items.delete("i49")
    await store.users.delete("u49")
    clock.pass_s(5)


async def test_no_key_is_without_bound_however_long_the_store_is_used(
    store: Store, clock: Clock, redis_url: str, settings: Settings
) -> None:
    for round_ in range(8):
        await use_everything(store, clock, round_)
    with admin_of(redis_url, decode_responses=True) as admin:
        keys = all_keys(admin)
        assert {family(key) for key in keys} == set(BOUNDS), "a family of keys that this test does not know"
        assert [key for key in keys if not BOUNDS[family(key)](admin, key)] == []


async def test_idle_users_expire_where_the_settings_say_so(redis_url: str, clock: Clock) -> None:
    state = StateSettings(user_ttl_s=3600, recents=2, clock_skew_s=0)
    store = Store(Settings(redis_url=redis_url, state=state), clock)
    await store.events.accept([event("u", number) for number in range(12)], clock())
    with admin_of(redis_url, decode_responses=True) as admin:
        assert all(admin.pttl(key) == -1 for key in all_keys(admin, "*:p:u")), "pending events never expire"
        (claim,) = await store.summaries.claim(1)
        await store.summaries.commit(claim, "text", "m", "p", 12)
        (claims, left) = (await store.summaries.claim(1), all_keys(admin, "*:u"))
        assert claims == []
        assert {family(key) for key in left} == {"u", "r", "i", "d"}
        assert all(admin.pttl(key) > 0 for key in left)
    await store.close()


async def test_an_idle_user_expires_even_if_all_its_events_were_dead_lettered(redis_url: str, clock: Clock) -> None:
    state = StateSettings(user_ttl_s=3600, recents=2, seen_items=3, clock_skew_s=0)
    store = Store(Settings(redis_url=redis_url, state=state), clock)
    await store.events.accept([event("u", number) for number in range(24)], clock())
    for _ in range(2):
        (claim,) = await store.summaries.claim(1)
        assert await store.summaries.dead_letter(claim, "bad", 12) == "dead_lettered"
    with admin_of(redis_url, decode_responses=True) as admin:
        left = {family(key): admin.pttl(key) for key in all_keys(admin, "*:u")}
        assert {name for name, ttl in left.items() if ttl > 0} == {"r", "i", "d"}
        assert left.keys() == {"r", "i", "d", "y"}, "dead letters are kept until they are retried or dropped"
    await store.close()


def _data_bytes(admin: Admin) -> int:
    """Memory of the keys, without scripts and buffers, which do not depend on the number of users."""
    info = admin.info("memory")
    others = ("used_memory_scripts", "mem_clients_normal", "mem_aof_buffer")
    return int(info["used_memory"]) - sum(int(info[name]) for name in others)


@on_one_redis
async def test_a_user_with_20_recents_takes_at_most_two_and_a_half_kib(redis_url: str) -> None:
    """Event ids of 25 characters, user and item ids of ten, a summary of 450: all keys and their overheads.

    The log is as full as with a million users and the default bound: one event for each.
    """
    users = 1000
    store = Store(Settings(redis_url=redis_url, state=StateSettings(event_log_size=users, buckets=1)))
    with admin_of(redis_url) as admin:
        await store.events.accept([event("warm", 1)], 0)
        await store.users.delete("warm")
        before = _data_bytes(admin)
        for burst in range(5):
            batch = [
                event(f"user-{number:06d}", f"0123456789-{burst}-{n}", item=f"item-{burst}{n:04d}")
                for number in range(users)
                for n in range(4)
            ]
            await store.events.accept(batch, 0)
            while claims := await store.summaries.claim(50):
                for claim in claims:
                    await store.summaries.commit(claim, "likes " * 75, "demo-summarizer@1", "0123456789ab", 4)
        assert (await store.users.read("user-000007")).pending == 0
        bytes_per_user = (_data_bytes(admin) - before) / users
    await store.close()
    assert bytes_per_user <= 2560
