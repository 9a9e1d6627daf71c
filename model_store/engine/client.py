"""One vLLM server over HTTP: pooled connections, a deadline per call, retries, and an error class per failure."""

import asyncio
import io
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp
import orjson
import stamina

from model_store.certificates import trusted
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
from model_store.engine.observer import Observer, Unobserved, Usage
from model_store.engine.retry_budget import RetryBudget

MAX_ANSWER_BYTES = 8 * 2**20
"""Reading stops when an answer is longer."""
# Shorter than the 5 seconds after which vLLM closes an idle connection: no request meets a closing one.
_KEEPALIVE_S = 3.0
_ATTEMPTS = 3
_LARGE_BYTES = 2**20
_OVERLOADED = {429, 503}
_TOO_LONG = ("maximum context length", "maximum model length", "max_model_len", "longer than the maximum")
_UNCOMPRESSED = {"accept-encoding": "identity"}
_JSON = {"content-type": "application/json"}
TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The W3C trace header of the requests that are sent meanwhile."""


class VllmClient:
    """Asks one server. Calls are pure inference, which makes it safe to repeat them.

    Args:
        url: the server's root, without `/v1`. A user name and password in it are sent as Basic authorization, and never
            appear in an error or a log.
        max_concurrent_calls: requests sent at the same time; more wait, within their own deadlines.
        retries: the budget of retries, which clients of one model may share.

    Attributes:
        observer: is told the tokens of each answer.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float,
        max_concurrent_calls: int,
        api_key: str | None = None,
        retries: RetryBudget | None = None,
    ) -> None:
        self.url, credentials = _split_credentials(url.rstrip("/"))
        authorization = f"Bearer {api_key}" if api_key else credentials
        self._headers = _UNCOMPRESSED | ({"authorization": authorization} if authorization else {})
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_s)
        self._free = asyncio.Semaphore(max_concurrent_calls)
        self._opened: aiohttp.ClientSession | None = None
        self.retries = retries or RetryBudget()
        self.observer: Observer = Unobserved()

    def _session(self) -> aiohttp.ClientSession:
        """Opened with the first request: aiohttp binds it to the running event loop."""
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=trusted()),
                headers=self._headers,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                # A model server is in the private network, and is not reached through the proxies for the Internet.
                trust_env=False,
            )
        return self._opened

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

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
        return await self._send("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send `body` as JSON and return the answer's JSON; cancelling the call aborts the request.

        A broken connection or an overloaded server is retried a few times, as far as the budget of retries allows.

        Raises:
            EngineError: see `errors`.
        """
        content = orjson.dumps(body)
        self.retries.called()
        attempts = 0

        def may_retry(error: Exception) -> bool:
            nonlocal attempts
            attempts += 1
            retried = isinstance(error, ConnectionLost | EngineOverloaded) and attempts < _ATTEMPTS
            return retried and self.retries.take()

        retries = stamina.retry_context(
            on=may_retry,
            attempts=_ATTEMPTS,
            timeout=None,
            wait_initial=0.05,
            wait_max=1.0,
            wait_jitter=0.05,
        )
        async with self._free:
            async for attempt in retries:
                with attempt:
                    answer = _parse(await self._send("POST", path, content))
                    if usage := Usage.of(answer):
                        self.observer.usage(usage)
                    return answer
        raise AssertionError("stamina ends with a result or an exception")

    async def _send(self, method: str, path: str, content: bytes | None) -> bytes:
        where = self.url + path
        # From a buffer, a very large body is written piece by piece, without blocking the event loop.
        data = io.BytesIO(content) if content is not None and len(content) > _LARGE_BYTES else content
        headers = {} if content is None else _JSON
        if (traceparent := TRACEPARENT.get()) is not None:
            headers = {**headers, "traceparent": traceparent}
        try:
            async with self._session().request(
                method, where, data=data, headers=headers, allow_redirects=False
            ) as response:
                answer = await _read(where, response)
        except (aiohttp.ClientError, ValueError) as error:
            # A ValueError is a key that no header can hold. The cause is left out: its headers can contain the key.
            raise ConnectionLost(f"{where}: {error or type(error).__name__}") from None
        if 200 <= response.status < 300:
            return answer
        raise _rejection(where, response.status, answer)


def _split_credentials(url: str) -> tuple[str, str | None]:
    """The URL without its user name and password, and the Authorization header for them."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    name, _, password = userinfo.partition(":")
    basic = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), f"Basic {basic}"


async def _read(where: str, response: aiohttp.ClientResponse) -> bytes:
    pieces, length = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        length += len(piece)
        if length > MAX_ANSWER_BYTES:
            raise BadAnswer("malformed", f"{where} answered with more than {MAX_ANSWER_BYTES} bytes")
    return b"".join(pieces)


def _rejection(where: str, status: int, answer: bytes) -> EngineError:
    message = _message(answer)
    text = f"{where} answered {status}: {message}"
    if status in _OVERLOADED:
        return EngineOverloaded(text)
    if status >= 500:
        return EngineUnavailable(text)
    if any(mark in message for mark in _TOO_LONG):
        return PromptTooLong(text, status)
    return EngineRejected(text, status)


def _message(answer: bytes) -> str:
    try:
        return str(orjson.loads(answer)["error"]["message"])[:500]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return answer[:500].decode(errors="replace")


def _parse(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadAnswer("malformed", f"the answer is not JSON: {error}") from None
