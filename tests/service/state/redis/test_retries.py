"""A Redis that is down is not asked three times by every call."""

import copy

import pytest
from redis.exceptions import ConnectionError as Disconnected

from model_store.engine.retry_budget import RetryBudget
from service.settings.state import StateSettings
from service.state.redis.retries import BudgetedRetry, budget


class Calls:
    """A call that is never answered."""

    def __init__(self) -> None:
        self.tries = self.closed = 0

    async def do(self) -> None:
        self.tries += 1
        raise Disconnected("down")

    async def close(self, error: Exception) -> None:
        self.closed += 1


async def test_all_connections_share_one_budget_of_retries() -> None:
    retries = RetryBudget(0.1, size=4, per_s=0.0)
    first = BudgetedRetry(retries)
    calls = Calls()
    for one in (first, copy.deepcopy(first), copy.deepcopy(first), *[first] * 7):
        with pytest.raises(Disconnected):
            await one.call_with_retry(calls.do, calls.close)
    assert calls.tries == calls.closed == 10 + 4, "the tenth of ten calls is one, and the last retry is not paid for"
    assert retries.left < 0.25


def test_after_a_restart_of_redis_every_connection_can_be_opened_again() -> None:
    retries = budget(StateSettings(redis_connections=7))
    assert [retries.take() for _ in range(14)] == [True] * 14
