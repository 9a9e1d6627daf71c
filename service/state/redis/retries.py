"""Retries of calls to Redis, within one budget: when Redis is down, they must not triple the load of reconnecting."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from model_store.engine.retry_budget import RetryBudget
from service.settings.state import StateSettings

T = TypeVar("T")
_RETRIES = 2
_SHARE = 0.1


def budget(settings: StateSettings) -> RetryBudget:
    """Large enough for every connection to be opened again after Redis was restarted."""
    return RetryBudget(_SHARE, size=2.0 * settings.redis_connections, per_s=1.0)


class BudgetedRetry(Retry):
    """Retries a call twice, as far as `retries` allows."""

    def __init__(self, retries: RetryBudget) -> None:
        super().__init__(ExponentialWithJitterBackoff(base=0.02, cap=0.2), _RETRIES)
        self._budget = retries

    def __deepcopy__(self, memo: dict[int, Any]) -> "BudgetedRetry":
        """The client copies it for each connection; all of them share the budget."""
        return BudgetedRetry(self._budget)

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        """As that of the client, but the error is raised at once when the budget is used up."""
        self._budget.called()
        failures = 0

        async def failed(error: Exception, *count: int) -> None:
            nonlocal failures
            await fail(error, *count)
            failures += 1
            if failures <= _RETRIES and not self._budget.take():
                raise error

        return await super().call_with_retry(do, failed, is_retryable, with_failure_count)
