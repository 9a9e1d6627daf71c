"""Makes the soft tokens of pictures, which stand for them in the prompts of a text LLM."""

import asyncio
import time
from collections.abc import Sequence

from model_store.errors import UserError
from model_store.registry.manifest import Manifest
from service.engines import soft_token_versions
from service.settings import Settings
from service.state.leases import DeadLettered
from service.state.queues import Derivations
from service.state.records import ItemClaim
from workers.backoff import Pause
from workers.job import Job, JobUnavailable, Outcome, Resources, ServerUnavailable, WorkFailed, committed, grouped
from workers.pool import Pool
from workers.soft_tokens import EncoderAbsent, SoftTokens, open_soft_tokens

_VERSIONS_S = 30.0
"""How long a promotion may take to be noticed."""
_KEPT_ENCODERS = 4
"""Encoders that an item is noted to have tokens of."""


def make_pools(tenants: Sequence[Resources]) -> list[Pool[ItemClaim]]:
    """One for each ranker that has an encoder."""
    encoding = [tenant for tenant in tenants if tenant.store.encodings is not None]
    return [_pool(group) for group in grouped(encoding, lambda tenant: tenant.own_settings.ranker)]


def _pool(tenants: Sequence[Resources]) -> Pool[ItemClaim]:
    worker = tenants[0]
    own = worker.own_settings
    versions = Versions(own)
    jobs = [
        EncodeJob(tenant, queue, tokens, versions)
        for tenant, tokens in zip(tenants, open_soft_tokens(tenants, own.ranker), strict=True)
        if (queue := tenant.store.encodings) is not None
    ]
    return Pool(jobs, Pause(worker.retry), worker.settings.worker.max_concurrent_encodings, worker.settings)


class Versions:
    """The versions of a ranker that need soft tokens; promotions are noticed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: list[Manifest] = []
        self._until = float("-inf")

    async def current(self) -> list[Manifest]:
        """
        Raises:
            JobUnavailable: the model store can't be read.
        """
        if time.monotonic() >= self._until:
            try:
                self._known = await asyncio.to_thread(soft_token_versions, self._settings)
            except (OSError, UserError) as error:
                raise JobUnavailable(f"the versions of the ranker can't be read: {error}") from error
            self._until = time.monotonic() + _VERSIONS_S
        return self._known


class EncodeJob(Job[ItemClaim]):
    """Makes the tokens of new pictures, for all versions of the ranker that have an alias."""

    def __init__(self, worker: Resources, queue: Derivations, tokens: SoftTokens, versions: Versions) -> None:
        super().__init__(queue, worker.retry, worker.metrics)
        self._queue = queue
        self._tokens = tokens
        self._versions = versions

    async def work(self, claim: ItemClaim) -> Outcome:
        made: list[str] = []
        failed: list[WorkFailed | ServerUnavailable | EncoderAbsent] = []
        for version in await self._versions.current():
            try:
                await self._tokens.of(version, claim.item.picture or "")
                made.append(version.encoder_id)
            except (WorkFailed, ServerUnavailable, EncoderAbsent) as error:
                failed.append(error)
        if failed and not made:
            raise next((error for error in failed if not isinstance(error, EncoderAbsent)), failed[0])
        # A gateway asks again for what a version lacks, so the failure of a canary costs production nothing.
        encoded = [*made, *(one for one in claim.item.encoded if one not in made)][:_KEPT_ENCODERS]
        text = " ".join(encoded)
        return committed(await self._queue.commit(claim, text, text))

    async def dead_letter(self, claim: ItemClaim, failure: WorkFailed) -> DeadLettered:
        tried = [version.encoder_id for version in await self._versions.current()]
        return await self._queue.dead_letter(claim, failure.reason, " ".join(tried))
