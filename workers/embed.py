"""Makes the vectors of items, for the index that is in use and for the one that is to be used next."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from model_store.engine.embed import Embedder
from model_store.registry.manifest import Manifest
from model_store.views import ItemView
from service.state.leases import DeadLettered
from service.state.queues import EmbeddingQueue, TooManyIndexes, WrongWidth
from service.state.records import Item, ItemClaim
from service.state.views import item_view
from workers.backoff import Pause
from workers.embedders import EmbedderServers, Versions
from workers.job import Job, JobUnavailable, Outcome, Resources, ServerUnavailable, WorkFailed, committed, grouped
from workers.model_calls import answer_of
from workers.pool import Pool
from workers.soft_tokens import REFUSED, SoftTokens, open_soft_tokens

Failure = WorkFailed | ServerUnavailable | JobUnavailable


class NotEmbedded(WorkFailed):
    """These versions can't embed the item, for the reason of the first; others may embed it."""

    def __init__(self, failure: WorkFailed, versions: Sequence[str]) -> None:
        super().__init__(failure.reason, failure.detail, server_answered=failure.server_answered)
        self.versions = versions


def make_pools(tenants: Sequence[Resources]) -> list[Pool[ItemClaim]]:
    """One for each embedder, and one for the tenants without any, whose items would wait for ever."""
    embedding = [tenant for tenant in tenants if tenant.store.embedding_queue is not None]
    return [_pool(group) for group in grouped(embedding, lambda tenant: tenant.own_settings.embedder)]


def _pool(tenants: Sequence[Resources]) -> Pool[ItemClaim]:
    worker = tenants[0]
    own = worker.own_settings
    servers = EmbedderServers(own, worker.metrics) if own.embedder.url else None
    if servers is not None:
        worker.on_exit.push_async_callback(servers.close)
    jobs = [
        EmbedJob(tenant, queue, Versions(servers, tenant.store.embeddings), tokens)
        for tenant, tokens in zip(tenants, open_soft_tokens(tenants, own.embedder), strict=True)
        if (queue := tenant.store.embedding_queue) is not None
    ]
    return Pool(jobs, Pause(worker.retry), worker.settings.worker.max_concurrent_embeddings, worker.settings)


class EmbedJob(Job[ItemClaim]):
    """Makes the vectors that an item lacks.

    If only a server of one version fails, the vectors of the others are committed: the next look at all items finds
    what is lacking. If a version can't embed the item, the others' vectors are kept and it is tried again.
    """

    def __init__(self, worker: Resources, queue: EmbeddingQueue, versions: Versions, tokens: SoftTokens) -> None:
        super().__init__(queue, worker.retry, worker.metrics)
        self._queue = queue
        self._pictures = worker.pictures
        self._versions = versions
        self._tokens = tokens

    async def work(self, claim: ItemClaim) -> Outcome:
        made: dict[str, bytes] = {}
        failures: dict[str, Failure] = {}
        for embedder in await self._versions.current():
            if embedder.id in claim.embedded or embedder.id in claim.failed:
                continue
            try:
                made[embedder.id] = await self._vector(embedder, claim.item)
            except (WorkFailed, ServerUnavailable, JobUnavailable) as error:
                failures[embedder.id] = error
        rejected = {version: error for version, error in failures.items() if isinstance(error, WorkFailed)}
        if rejected:
            if made:
                await self._write(claim, made, keep=True)
            raise NotEmbedded(next(iter(rejected.values())), list(rejected))
        if failures and not made:
            raise _first(failures)
        return committed(await self._write(claim, made, keep=False))

    async def dead_letter(self, claim: ItemClaim, failure: WorkFailed) -> DeadLettered:
        if isinstance(failure, NotEmbedded):
            failed = failure.versions
        else:
            # Unexpected: any of them may be the cause.
            failed = [one.id for one in await self._versions.current() if one.id not in claim.embedded]
        return await self._queue.dead_letter(claim, failure.reason, dict.fromkeys([*claim.failed, *failed]))

    async def _write(self, claim: ItemClaim, vectors: Mapping[str, bytes], *, keep: bool) -> bool:
        try:
            return await (self._queue.keep if keep else self._queue.commit)(claim, vectors)
        except WrongWidth as error:
            raise NotEmbedded(WorkFailed("embedding_width", str(error)), list(vectors)) from error
        except TooManyIndexes as error:
            raise JobUnavailable(str(error)) from error

    async def _vector(self, embedder: Embedder, item: Item) -> bytes:
        view = await self._view(embedder.manifest, item)
        answer = embedder.embed(view)
        vector = await answer_of("embed", answer, embedder, self._metrics, "embedder")
        return vector.astype(np.float16).tobytes()

    async def _view(self, manifest: Manifest, item: Item) -> ItemView:
        """The item without what other models wrote about it, and without a picture that can't be read."""
        view = replace(item_view(item), summary="")
        if not item.picture:
            return view
        try:
            if manifest.picture_tokens is not None:
                return replace(view, picture_tokens=await self._tokens.of(manifest, item.picture))
            image = await self._pictures.read(item.picture)
        except WorkFailed as failure:
            if failure.reason != REFUSED:
                raise
            return view
        except OSError as error:
            raise JobUnavailable(f"pictures can't be read: {error}") from error
        if image is None:
            raise WorkFailed("picture_missing", server_answered=False)
        return replace(view, image=image)


def _first(failures: Mapping[str, Failure]) -> Failure:
    """The first failure; the item may be the cause of it for its version only."""
    version, failure = next(iter(failures.items()))
    if isinstance(failure, ServerUnavailable) and failure.suspect is not None:
        failure.suspect = NotEmbedded(failure.suspect, [version])
    return failure
