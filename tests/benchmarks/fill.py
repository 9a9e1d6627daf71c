"""Users as they are after a while: full recents, a summary, nothing pending. Written by the store's own methods."""

import asyncio
import random
from collections.abc import Callable, Sequence

from model_store.signals import BUILT_IN
from service.settings import Settings
from service.settings.state import StateSettings
from service.state import votes
from service.state.records import Event, SummaryClaim
from service.state.store import Store
from tests.benchmarks.traffic import ITEMS, KINDS, now_ms, user_id

AT_ONCE = 500
"""Users who are accepted and folded together."""
COMMITS = 32
WORDS = ("likes", "avoids", "calm", "loud", "early", "late", "jazz", "harbour", "red", "short", "lately", "music")
START_MS = 1_750_000_000_000


def fill(
    url: str,
    users: int,
    *,
    folds: Sequence[int] = (20,),
    summary_chars: int = 400,
    tick: Callable[[int], None] = lambda done: None,
) -> None:
    """Give users number 0 to `users` - 1 events, folded into a summary of `summary_chars` characters.

    Args:
        folds: how many events each version of the summary folds.
        tick: hears how many users were finished since it was last called.
    """
    asyncio.run(_fill(url, users, folds, summary_chars, tick))


def open_store(url: str, most: int) -> Store:
    """A store in which one claim holds all of a user's events, `most` at most."""
    # The user is due at once; the event log is measured by itself.
    state = StateSettings(catch_up_block=max(12, most), block_size=1, lease_s=600, event_log_size=0)
    return Store(Settings(redis_url=url, state=state))


async def _fill(url: str, users: int, folds: Sequence[int], summary_chars: int, tick: Callable[[int], None]) -> None:
    store = open_store(url, max(folds))
    try:
        for start in range(0, users, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, users))
            before = 0
            for count in folds:
                events = [event for number in numbers for event in _events(number, before, count)]
                await store.events.accept(events, now_ms())
                before += count
                await fold(store, lambda claim: _text(claim.token, summary_chars))
            tick(len(numbers))
    finally:
        await store.close()


def _events(number: int, before: int, count: int) -> list[Event]:
    drawn, user = random.Random(f"{number} {before}"), user_id(number)
    return [
        Event(
            f"{drawn.getrandbits(128):032x}",
            user,
            f"item-{drawn.randrange(ITEMS):06}",
            drawn.choice(KINDS),
            START_MS + 60_000 * step,
        )
        for step in range(before, before + count)
    ]


async def fold(store: Store, text: Callable[[SummaryClaim], str]) -> None:
    """Fold all that is pending into summaries that `text` writes."""
    slots = asyncio.Semaphore(COMMITS)

    async def commit(claim: SummaryClaim) -> None:
        async with slots:
            liked = votes.uncounted(
                claim.votes, [e.item_id for e in claim.pending if BUILT_IN(e.type, e.value) == "positive"]
            )
            if not await store.summaries.commit(
                claim, text(claim), "bench-summarizer@1", "bench", len(claim.pending), liked
            ):
                raise AssertionError("a commit was lost, though nobody else works here")

    while claims := await store.summaries.claim(AT_ONCE):
        await asyncio.gather(*map(commit, claims))


def _text(seed: int, length: int) -> str:
    drawn = random.Random(seed)
    return " ".join(drawn.choices(WORDS, k=length // 3))[:length]
