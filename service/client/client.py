"""The HTTP API of a running service, as methods."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import httpx
import orjson

from model_store.errors import UserError

PAGE = 1000
BUSY = frozenset({429, 503})
NOT_FOUND, UNPROCESSABLE = 404, 422
RETRY_INITIAL_S, RETRY_MAX_S = 0.5, 30.0
Json = Mapping[str, Any]


class ServiceError(UserError):
    """The service can't be reached or refused a request. The message says which request and why.

    Args:
        status: the HTTP status; None when there was no response.
        problem: the response body if it was a problem document.
    """

    def __init__(self, message: str, *, status: int | None = None, problem: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}


class ServiceClient:
    """A client of one service, with retries. All requests are safe to repeat.

    A request is retried after a response of 429 or 503, as `Retry-After` says, and after a lost connection to a service
    that has answered before, since it may be restarting.

    Args:
        timeout_s: for one HTTP request.
        patience_s: how long one call is retried.

    Attributes:
        seconds: by path, the duration of every successful `POST /events` and `POST /recommend`.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        patience_s: float = 120.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.seconds: dict[str, list[float]] = {"/events": [], "/recommend": []}
        self._patience_s = patience_s
        self._reached = False
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout_s, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ready(self) -> bool:
        """Whether the service answers and reports that it is ready. Never retried."""
        try:
            response = await self._http.get("/readyz")
        except httpx.TransportError:
            return False
        return response.is_success

    async def items(self) -> AsyncIterator[Json]:
        """Yield every item of the catalogue."""
        params: dict[str, str | int] = {"limit": PAGE}
        while True:
            page = await self._call("GET", "/items", ("items", "next_cursor"), params=params)
            for item in page["items"]:
                yield item
            if not page["next_cursor"]:
                return
            params["cursor"] = page["next_cursor"]

    async def post_items(self, items: Sequence[Json]) -> Json:
        """Store items in bulk and return the outcome of each, even if none was accepted.

        Raises:
            ServiceError: the request as a whole was refused.
        """
        try:
            return await self._call("POST", "/items", ("accepted", "rejected"), json=list(items))
        except ServiceError as error:
            if error.status != UNPROCESSABLE or "rejected" not in error.problem:
                raise
            return error.problem

    async def post_events(self, events: Sequence[Json]) -> None:
        """Post one user's events in order. Events that a full backlog rejects are sent again.

        Raises:
            ServiceError: an event was rejected, or the backlog stayed full.
        """
        left = list(events)
        deadline = time.monotonic() + self._patience_s
        while True:
            rejected = (await self._call("POST", "/events", ("rejected",), json=left))["rejected"]
            for rejection in rejected:
                if rejection["code"] != "backlog_full":
                    raise ServiceError(f"the service rejected an event: {rejection['detail']}")
            if not rejected:
                return
            if time.monotonic() > deadline:
                raise ServiceError(f"a user's backlog stayed full for {self._patience_s:.0f} s: are workers running?")
            left = [left[rejection["index"]] for rejection in rejected]
            await asyncio.sleep(RETRY_INITIAL_S)

    async def recommend(self, body: Json) -> Json:
        return await self._call("POST", "/recommend", ("items", "model", "degraded"), json=body)

    async def similar(self, item_id: str, k: int) -> list[Json]:
        """Items like this one, best first; none for an unknown item."""
        try:
            answer = await self._call("GET", f"/items/{quote(item_id, safe='')}/similar", ("items",), params={"k": k})
        except ServiceError as error:
            if error.status != NOT_FOUND:
                raise
            return []
        items: list[Json] = answer["items"]
        return items

    async def user(self, user_id: str) -> Json:
        return await self._call("GET", f"/users/{quote(user_id, safe='')}", ("summary", "pending_events"))

    async def delete_item(self, item_id: str) -> None:
        """Delete an item, if there is one."""
        try:
            await self._call("DELETE", f"/items/{quote(item_id, safe='')}")
        except ServiceError as error:
            if error.status != NOT_FOUND:
                raise

    async def delete_user(self, user_id: str) -> None:
        await self._call("DELETE", f"/users/{quote(user_id, safe='')}")

    async def _call(
        self,
        method: str,
        path: str,
        fields: Sequence[str] = (),
        *,
        json: object = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Json:
        """Return the response body, which must have these fields."""
        deadline = time.monotonic() + self._patience_s
        wait_s = RETRY_INITIAL_S
        while True:
            pause_s = wait_s
            started = time.monotonic()
            try:
                response = await self._send(method, path, json, params)
            except ServiceError:
                if not self._reached or time.monotonic() + pause_s > deadline:
                    raise
            else:
                self._reached = True
                if response.is_success:
                    if path in self.seconds:
                        self.seconds[path].append(time.monotonic() - started)
                    return _read(response, fields)
                pause_s = _retry_after_s(response, wait_s)
                if response.status_code not in BUSY or time.monotonic() + pause_s > deadline:
                    raise _refused(f"{method} {self.url}{path}", response)
            await asyncio.sleep(pause_s)
            wait_s = min(2 * wait_s, RETRY_MAX_S)

    async def _send(
        self, method: str, path: str, json: object, params: Mapping[str, str | int] | None
    ) -> httpx.Response:
        content = None if json is None else orjson.dumps(json)
        headers = {} if json is None else {"Content-Type": "application/json"}
        try:
            return await self._http.request(method, path, content=content, headers=headers, params=params)
        except httpx.TimeoutException:
            raise ServiceError(f"{method} {self.url}{path} timed out") from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ServiceError(
                f"the service at {self.url} is not reachable: {reason}. Start it, or pass another URL with --url."
            ) from None


def _read(response: httpx.Response, fields: Sequence[str]) -> Json:
    """
    Raises:
        ServiceError: the body is not a JSON object with these fields.
    """
    if not fields:
        return {}
    body = _json_object(response)
    if not body.keys() >= set(fields):
        raise ServiceError(f"the response of {response.request.url} is not that of a Tastestream service")
    return body


def _refused(request: str, response: httpx.Response) -> ServiceError:
    problem = _json_object(response)
    reason = response.reason_phrase
    if "code" in problem and "detail" in problem:
        reason = f"{problem['code']}: {problem['detail']}"
    message = f"{request} was refused: {response.status_code} {reason}"
    return ServiceError(message, status=response.status_code, problem=problem)


def _retry_after_s(response: httpx.Response, default_s: float) -> float:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return default_s


def _json_object(response: httpx.Response) -> Json:
    """The body; empty if it is not a JSON object."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
