"""Faults of a summarizer, and what tests of folding wait for."""

from collections.abc import Callable, Sequence

from model_store.engine.errors import EngineError
from model_store.views import InteractionView
from service.state.store import Store
from tests.stores import popularity
from tests.workers.conftest import text
from tests.workers.doubles import Fault, titles


def failing(error: Callable[[], EngineError], when: Callable[[str, list[str]], bool]) -> Fault:
    """Raises `error` for calls of which `when`, given summary and titles, is true."""

    async def fault(summary: str, block: Sequence[InteractionView]) -> None:
        if when(summary, titles(block)):
            raise error()

    return fault


def about(user: str) -> Callable[[str, list[str]], bool]:
    """Whether a call has an event of the user."""
    return lambda summary, block: any(title.startswith(f"{user}-") for title in block)


def names(user: str, count: int) -> str:
    """The summary that `RecordingSummarizer` writes of the first `count` events of a user."""
    return " ".join(f"{user}-{number}" for number in range(count))


async def summary_is(store: Store, user: str, expected: str) -> bool:
    return await text(store, user) == expected


async def folded_all(store: Store, user: str, events: int) -> bool:
    read = await store.users.read(user)
    return read.pending == 0 and read.summary is not None and read.summary.events == events


async def popularity_is(store: Store, expected: dict[str, float]) -> bool:
    return await popularity(store, list(expected)) == expected


async def true(value: bool) -> bool:
    return value
