"""Users as they are after a while: full recents, a summary, nothing pending. Written by the store's own methods."""

import asyncio
import random
import time
from collections.abc import Callable

from service.settings import Settings, StateSettings
from service.state.records import Event
from service.state.store import Store
from tests.benchmarks.traffic import ITEMS, KINDS, user_id

USERS_PER_CALL = 50
CLAIMS = 500
WORDS = ("likes", "avoids", "calm", "loud", "early", "late", "jazz", "harbour", "red", "short", "lately", "music")
START_MS = 1_750_000_000_000


def fill(
    url: str, users: int, *, recents: int, summary_chars: int, tick: Callable[[int], None] = lambda done: None
) -> None:
    """Give users number 0 to `users` - 1 `recents` events each, folded into a summary of `summary_chars` characters.

    Args:
        tick: hears how many users were finished since it was last called.
    """
    asyncio.run(_fill(url, users, recents, summary_chars, tick))


async def _fill(url: str, users: int, recents: int, summary_chars: int, tick: Callable[[int], None]) -> None:
    # One claim must hold all events of a user.
    state = StateSettings(catch_up_block=max(12, recents), lease_s=600)
    store = await Store.connect(Settings(redis_url=url, state=state))
    try:
        for start in range(0, users, USERS_PER_CALL):
            numbers = range(start, min(start + USERS_PER_CALL, users))
            await store.events.accept([e for n in numbers for e in _events(n, recents)], time.time_ns() // 1_000_000)
            if start // USERS_PER_CALL % (CLAIMS // USERS_PER_CALL) == 0:
                tick(await _fold(store, summary_chars))
        while folded := await _fold(store, summary_chars):
            tick(folded)
    finally:
        await store.close()


def _events(number: int, count: int) -> list[Event]:
    drawn = random.Random(number)
    user = user_id(number)
    return [
        Event(
            f"{drawn.getrandbits(128):032x}",
            user,
            f"item-{drawn.randrange(ITEMS):06}",
            drawn.choice(KINDS),
            START_MS + 60_000 * step,
        )
        for step in range(count)
    ]


async def _fold(store: Store, summary_chars: int) -> int:
    claims = await store.work.claim(CLAIMS)
    done = await asyncio.gather(
        *(
            store.work.commit(
                claim, _text(claim.token, summary_chars), "bench-summarizer@1", "bench", len(claim.pending)
            )
            for claim in claims
        )
    )
    if not all(done):
        raise AssertionError("a commit was lost, though nobody else works here")
    return len(claims)


def _text(seed: int, length: int) -> str:
    drawn = random.Random(seed)
    return " ".join(drawn.choices(WORDS, k=length // 3))[:length]
