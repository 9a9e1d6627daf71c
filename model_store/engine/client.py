"""One vLLM server over HTTP: pooled connections, a deadline per call, one retry layer, errors by name."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import stamina

from model_store.engine.errors import (
    BadAnswer,
    ConnectionLost,
    EngineError,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    PromptTooLong,
)

# Shorter than the 5 seconds after which vLLM closes an idle connection: no request meets a closing one.
_KEEPALIVE_S = 3.0
_ATTEMPTS = 3
# Of one pool: with every request, httpx looks at all of a pool's connections for each idle one of them.
_CONNECTIONS = 8
_SHEDDING = {429, 503}
_TOO_LONG = ("maximum context length", "maximum model length", "max_model_len", "longer than the maximum")


class VllmClient:
    """Asks one server. Calls are pure inference, so that a lost one may be repeated.

    Args:
        url: the server's root, without `/v1`.
        max_in_flight: requests sent at the same time; more wait, within their own deadlines.
    """

    def __init__(self, url: str, *, connect_timeout_s: float, max_in_flight: int, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        certificates = httpx.create_ssl_context()
        self._pools = [
            httpx.AsyncClient(
                base_url=self.url,
                headers={"authorization": f"Bearer {api_key}"} if api_key else None,
                limits=httpx.Limits(max_connections=_CONNECTIONS + 1, keepalive_expiry=_KEEPALIVE_S),
                timeout=httpx.Timeout(None, connect=connect_timeout_s),
                verify=certificates,
                # A model server is in the private network: the proxies that lead out of it are not meant for it.
                trust_env=False,
            )
            for _ in range(-(-max_in_flight // _CONNECTIONS))
        ]
        # One entry for each request that may be in flight; the last one given back is warm, and taken first.
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for number in reversed(range(max_in_flight)):
            self._free.put_nowait(self._pools[number // _CONNECTIONS])

    async def close(self) -> None:
        for pool in self._pools:
            await pool.aclose()

    @asynccontextmanager
    async def deadline(self, timeout_s: float) -> AsyncIterator[None]:
        """Everything inside ends within `timeout_s` seconds, or is cancelled with `EngineTimeout`."""
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError:
            raise EngineTimeout(f"{self.url} did not answer within {timeout_s:.2f} s") from None

    async def get(self, path: str) -> bytes:
        """The body of a GET; one attempt.

        Raises:
            EngineError: no connection, or not a 2xx.
        """
        return await self._send(self._pools[0], "GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send `body` as JSON and return the answer's JSON; cancelling the call aborts the request.

        Broken connections and shed load are tried again a few times.

        Raises:
            EngineError: see `errors`.
        """
        content = orjson.dumps(body)
        pool = await self._free.get()
        try:
            return _parse(await self._retrying(pool, path, content))
        finally:
            self._free.put_nowait(pool)

    async def _retrying(self, pool: httpx.AsyncClient, path: str, content: bytes) -> bytes:
        retries = stamina.retry_context(
            on=(ConnectionLost, EngineOverloaded),
            attempts=_ATTEMPTS,
            timeout=None,
            wait_initial=0.05,
            wait_max=1.0,
            wait_jitter=0.05,
        )
        async for attempt in retries:
            with attempt:
                return await self._send(pool, "POST", path, content)
        raise AssertionError("stamina ends with a result or an exception")

    async def _send(self, pool: httpx.AsyncClient, method: str, path: str, content: bytes | None) -> bytes:
        headers = {"content-type": "application/json"} if content is not None else None
        try:
            response = await pool.request(method, path, content=content, headers=headers)
        except httpx.TransportError as error:
            raise ConnectionLost(f"{self.url}{path}: {error or type(error).__name__}") from error
        if response.is_success:
            return response.content
        raise _refusal(f"{self.url}{path}", response)


def _refusal(where: str, response: httpx.Response) -> EngineError:
    status, message = response.status_code, _message(response)
    text = f"{where} answered {status}: {message}"
    if status in _SHEDDING:
        return EngineOverloaded(text)
    if status >= 500:
        return EngineUnavailable(text)
    if any(mark in message for mark in _TOO_LONG):
        return PromptTooLong(text)
    return EngineRejected(text)


def _message(response: httpx.Response) -> str:
    try:
        return str(orjson.loads(response.content)["error"]["message"])[:500]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return response.text[:500]


def _parse(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadAnswer("malformed", f"the answer is not JSON: {error}") from None
