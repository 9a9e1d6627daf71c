"""Makes the soft tokens of pictures, which stand for them in the prompts of a text LLM."""

import asyncio
import time
from collections.abc import Sequence

from model_store.errors import UserError
from model_store.registry.manifest import Manifest
from service.engines import soft_token_versions
from service.pictures.encoders import Encoders, EncoderUnavailable
from service.pictures.tokens import TokenStore
from service.settings import RankerSettings, Settings
from service.state.leases import DeadLettered
from service.state.queues import Derivations
from service.state.records import ItemClaim
from workers.backoff import Pause
from workers.job import Job, JobUnavailable, Outcome, Resources, ServerUnavailable, WorkFailed, committed
from workers.pool import Pool
from workers.soft_tokens import SoftTokens

_VERSIONS_S = 30.0
"""How long a promotion may take to be noticed."""
_KEPT_ENCODERS = 4
"""Encoders that an item is noted to have tokens of."""


def make_pools(tenants: Sequence[Resources]) -> list[Pool[ItemClaim]]:
    """One for each ranker that has an encoder."""
    groups: dict[RankerSettings, list[Resources]] = {}
    for tenant in tenants:
        if tenant.store.encodings is not None:
            groups.setdefault(_own(tenant).ranker, []).append(tenant)
    return [_pool(ranker, group) for ranker, group in groups.items()]


def _pool(ranker: RankerSettings, tenants: Sequence[Resources]) -> Pool[ItemClaim]:
    worker = tenants[0]
    encoders = Encoders(ranker.encoder_urls, ranker.encoder_timeout_s)
    worker.on_exit.push_async_callback(encoders.close)
    # Without a cache: what it finds stored is really in the folder.
    tokens, versions = TokenStore(worker.settings.picture_tokens_url, cached_bytes=0), Versions(_own(worker))
    jobs = [
        EncodeJob(tenant, queue, encoders, tokens.of(_own(tenant).picture_tokens_url), versions)
        for tenant in tenants
        if (queue := tenant.store.encodings) is not None
    ]
    return Pool(jobs, Pause(worker.retry), worker.settings.worker.max_concurrent_encodings, worker.settings)


def _own(tenant: Resources) -> Settings:
    return tenant.settings.of_tenant(tenant.store.tenant)


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


def _failure(failed: Sequence[EncoderUnavailable | WorkFailed]) -> Exception:
    """What to raise when no version has tokens: the work failed, its server did, or none has the encoder."""
    for error in failed:
        if isinstance(error, WorkFailed):
            return error
        if error.asked:
            return ServerUnavailable(str(error), WorkFailed("encoder_failed", server_answered=False))
    return JobUnavailable(str(failed[0]))


class EncodeJob(Job[ItemClaim]):
    """Makes the tokens of new pictures, for all versions of the ranker that have an alias."""

    def __init__(
        self, worker: Resources, queue: Derivations, encoders: Encoders, tokens: TokenStore, versions: Versions
    ) -> None:
        super().__init__(queue, worker.retry, worker.metrics)
        self._queue = queue
        self._tokens = SoftTokens(worker.pictures, encoders, tokens, worker.metrics)
        self._versions = versions

    async def work(self, claim: ItemClaim) -> Outcome:
        made: list[str] = []
        failed: list[EncoderUnavailable | WorkFailed] = []
        for version in await self._versions.current():
            try:
                await self._tokens.of(version, claim.item.picture or "")
                made.append(version.encoder_id)
            except (EncoderUnavailable, WorkFailed) as error:
                failed.append(error)
        if failed and not made:
            raise _failure(failed) from failed[0]
        # A gateway asks again for what a version lacks, so the failure of a canary costs production nothing.
        encoded = [*made, *(one for one in claim.item.encoded if one not in made)][:_KEPT_ENCODERS]
        text = " ".join(encoded)
        return committed(await self._queue.commit(claim, text, text))

    async def dead_letter(self, claim: ItemClaim, failure: WorkFailed) -> DeadLettered:
        tried = [version.encoder_id for version in await self._versions.current()]
        return await self._queue.dead_letter(claim, failure.reason, " ".join(tried))
