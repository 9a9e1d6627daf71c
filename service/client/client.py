"""A client of a running service that knows nothing but its wire API."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import orjson

from model_store.errors import UserError

PAGE = 1000
BUSY = frozenset({429, 503})
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
DROPPED = (httpx.NetworkError, httpx.RemoteProtocolError)
TRIES = 3
Json = Mapping[str, Any]


class ServiceError(UserError):
    """The service can't be reached, or refused a call; the message is one sentence that says which and why.

    Args:
        status: of the answer; None when there was none.
        problem: the answer's body, where it was a problem document.
    """

    def __init__(self, message: str, *, status: int | None = None, problem: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}


class WireClient:
    """Calls one service. Keeps the seconds that each answered `POST /events` and `POST /recommend` took.

    Answers of 429 and 503 are waited out, as long as `Retry-After` asks, for at most `patience_s` a call.
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
        self.event_seconds: list[float] = []
        self.recommend_seconds: list[float] = []
        self._patience_s = patience_s
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout_s, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def items(self) -> AsyncIterator[Json]:
        """Every item of the catalogue."""
        cursor: str | None = None
        while True:
            params: dict[str, str | int] = {"limit": PAGE} | ({"cursor": cursor} if cursor else {})
            page, _ = await self._call("GET", "/items", ("items", "next_cursor"), params=params)
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if not cursor:
                return

    async def try_items(self, items: Sequence[Json]) -> Json:
        """Store items in bulk and return what became of each, also when none was acceptable.

        Raises:
            ServiceError: the call as a whole was refused.
        """
        try:
            answer, _ = await self._call("POST", "/items", ("accepted", "rejected"), json=list(items))
        except ServiceError as error:
            if error.status != 422 or "rejected" not in error.problem:
                raise
            return error.problem
        return answer

    async def put_items(self, items: Sequence[Json]) -> Json:
        """Store items in bulk.

        Raises:
            ServiceError: an item was rejected.
        """
        answer, _ = await self._call("POST", "/items", ("rejected",), json=list(items))
        if answer["rejected"]:
            first = answer["rejected"][0]
            raise ServiceError(f"the service rejected item {items[first['index']]['item_id']}: {first['detail']}")
        return answer

    async def post_events(self, events: Sequence[Json]) -> None:
        """Post one user's events in order; those that the user's full backlog refused are sent again.

        Raises:
            ServiceError: an event was rejected for good, or the backlog stayed full.
        """
        left = list(events)
        deadline = time.monotonic() + self._patience_s
        while True:
            answer, seconds = await self._call("POST", "/events", ("rejected",), json=left)
            self.event_seconds.append(seconds)
            rejected = answer["rejected"]
            for rejection in rejected:
                if rejection["code"] != "backlog_full":
                    raise ServiceError(f"the service rejected an event: {rejection['detail']}")
            if not rejected:
                return
            if time.monotonic() > deadline:
                raise ServiceError(f"a user's backlog stayed full for {self._patience_s:.0f} s: are workers running?")
            left = [left[rejection["index"]] for rejection in rejected]
            await asyncio.sleep(FIRST_WAIT_S)

    async def recommend(self, body: Json) -> Json:
        answer, seconds = await self._call("POST", "/recommend", ("items", "model", "degraded"), json=body)
        self.recommend_seconds.append(seconds)
        return answer

    async def user(self, user_id: str) -> Json:
        answer, _ = await self._call("GET", f"/users/{quote(user_id, safe='')}", ("summary", "pending_events"))
        return answer

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
    ) -> tuple[Json, float]:
        """(the answer, which has these fields; the seconds that it took)."""
        deadline = time.monotonic() + self._patience_s
        wait_s = FIRST_WAIT_S
        while True:
            started = time.monotonic()
            response = await self._send(method, path, json, params)
            seconds = time.monotonic() - started
            if response.is_success:
                return _read(response, fields), seconds
            asked_s = _retry_after(response)
            pause_s = wait_s if asked_s is None else asked_s
            if response.status_code not in BUSY or time.monotonic() + pause_s > deadline:
                problem = _problem(response)
                message = f"{method} {self.url}{path} was answered with {_refusal(response, problem)}"
                raise ServiceError(message, status=response.status_code, problem=problem)
            await asyncio.sleep(pause_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _send(
        self, method: str, path: str, json: object, params: Mapping[str, str | int] | None
    ) -> httpx.Response:
        """Send, and again on a new connection when the kept one is gone: every call may be repeated."""
        content = None if json is None else orjson.dumps(json)
        headers = {} if json is None else {"Content-Type": "application/json"}
        try:
            for _ in range(TRIES - 1):
                with suppress(*DROPPED):
                    return await self._http.request(method, path, content=content, headers=headers, params=params)
            return await self._http.request(method, path, content=content, headers=headers, params=params)
        except httpx.TimeoutException:
            raise ServiceError(f"{method} {self.url}{path} took too long to answer") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ServiceError(
                f"the service at {self.url} is not reachable: {reason}. Start it, or name another with --url."
            ) from None


def _read(response: httpx.Response, fields: Sequence[str]) -> Json:
    """
    Raises:
        ServiceError: the answer is no JSON object with these fields.
    """
    if not fields:
        return {}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not answer.keys() >= set(fields):
        raise ServiceError(f"{response.request.url} does not answer like a Tastestream service")
    return answer


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; None if the service did not say."""
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _problem(response: httpx.Response) -> Json:
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _refusal(response: httpx.Response, problem: Json) -> str:
    if "code" in problem and "detail" in problem:
        return f"{response.status_code} {problem['code']}: {problem['detail']}"
    return f"{response.status_code} {response.reason_phrase}"
