"""What engines and embedders have in common: how one model is reached on one vLLM server, and whether it works."""

from contextlib import suppress
from typing import TypedDict

from model_store.engine.breaker import Breaker
from model_store.engine.client import VllmClient
from model_store.engine.errors import EngineError, EngineRejected
from model_store.engine.listing import served_models
from model_store.engine.observer import Observer
from model_store.engine.retry_budget import RetryBudget
from model_store.registry.manifest import Manifest

CHECK_TIMEOUT_S = 2.0


class ServerOptions(TypedDict, total=False):
    """How a server is asked; see `ServedModel`."""

    timeout_s: float
    connect_timeout_s: float
    max_concurrent_calls: int
    api_key: str | None
    breaker: Breaker | None
    retries: RetryBudget | None


class ServedModel:
    """One model on one vLLM server.

    Args:
        url: the server's root, without `/v1`.
        model: the name under which the server serves the model.
        manifest: the model version; None for a general model.
        timeout_s, connect_timeout_s: of a call that is given no time itself, and of connecting.
        max_concurrent_calls: requests sent at the same time; further ones wait within their own time.
        api_key: the server's key, sent as a bearer token.
        breaker: stops calls while the server fails.
        retries: the budget of retries, which several servers of one model may share.
    """

    def __init__(
        self,
        url: str,
        model: str,
        manifest: Manifest | None,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 1.0,
        max_concurrent_calls: int = 64,
        api_key: str | None = None,
        breaker: Breaker | None = None,
        retries: RetryBudget | None = None,
    ) -> None:
        self.model, self.manifest = model, manifest
        self._timeout_s = timeout_s
        self._client = VllmClient(
            url,
            connect_timeout_s=connect_timeout_s,
            max_concurrent_calls=max_concurrent_calls,
            api_key=api_key,
            retries=retries,
        )
        self.url, self.retries = self._client.url, self._client.retries
        self.breaker = breaker or Breaker()

    @property
    def id(self) -> str:
        """The model version (`name@1`), or the served name of a general model."""
        return self.manifest.id if self.manifest else self.model

    @property
    def urls(self) -> list[str]:
        """The one server, without user name and password."""
        return [self.url]

    def observe(self, observer: Observer) -> None:
        """Tell `observer` what further answers say about themselves, and how the breaker and the budget stand."""
        self._client.observer = observer
        self.breaker.on_change = lambda state: observer.breaker(self.url, state)
        self.retries.on_change = observer.retry_budget
        observer.breaker(self.url, self.breaker.state)
        observer.retry_budget(self.retries.left)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()

    async def check(self) -> None:
        """Check, within seconds, that the server works and serves this model.

        Raises:
            EngineError: it does not; the message says why.
        """
        async with self._client.deadline(CHECK_TIMEOUT_S):
            await self._client.get("/health")
            served = await served_models(self._client)
        if self.model not in served:
            raise EngineRejected(f"{self.url} serves {', '.join(served)}, not {self.model}")

    async def healthy(self) -> bool:
        """Whether `check` passes."""
        with suppress(EngineError):
            await self.check()
            return True
        return False
