"""Describes items: from picture and title to the item summary (MLLM-MSR, stage 1)."""

from collections.abc import Sequence
from dataclasses import replace

from service.state.leases import DeadLettered
from service.state.records import ItemClaim
from service.state.views import item_view
from workers.job import Job, JobUnavailable, Outcome, Resources, WorkFailed, by_summarizer, committed
from workers.model_calls import answer_of
from workers.pool import Pool


def make_pools(tenants: Sequence[Resources]) -> list[Pool[ItemClaim]]:
    return [_pool(group) for group in by_summarizer(tenants)]


def _pool(tenants: Sequence[Resources]) -> Pool[ItemClaim]:
    worker = tenants[0]
    concurrency = worker.settings.worker.max_concurrent_descriptions
    return Pool([DescribeJob(tenant) for tenant in tenants], worker.server_pause, concurrency, worker.settings)


class DescribeJob(Job[ItemClaim]):
    """Describes items whose text or picture changed."""

    def __init__(self, worker: Resources) -> None:
        super().__init__(worker.store.descriptions, worker.retry, worker.metrics)
        self._queue = worker.store.descriptions
        self._engine = worker.summarizer.engine
        self._pictures = worker.pictures

    async def work(self, claim: ItemClaim) -> Outcome:
        try:
            picture = await self._pictures.read(claim.item.picture or "")
        except OSError as error:
            raise JobUnavailable(f"pictures can't be read: {error}") from error
        if picture is None:
            raise WorkFailed("picture_missing", server_answered=False)
        view = replace(item_view(claim.item, picture), summary="")
        answer = self._engine.describe(view, attempt=claim.attempts)
        text = await answer_of("describe", answer, self._engine, self._metrics)
        return committed(await self._queue.commit(claim, text, self._engine.id))

    async def dead_letter(self, claim: ItemClaim, failure: WorkFailed) -> DeadLettered:
        return await self._queue.dead_letter(claim, failure.reason)
