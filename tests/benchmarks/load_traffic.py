"""A mix of requests, sent at a given rate whatever becomes of them, and what the caller saw of each."""

import asyncio
import io
import random
import time
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
import orjson
from PIL import Image

Kind = Literal["event", "batch", "given", "retrieved", "item", "picture"]
SHARES: dict[Kind, float] = {
    "event": 0.55,
    "batch": 0.05,
    "given": 0.2,
    "retrieved": 0.1,
    "item": 0.08,
    "picture": 0.02,
}
"""Of the requests. A batch has `BATCH` events; `given` and `retrieved` are recommendations with and without
candidates; `item` changes an attribute of an item, `picture` its picture."""
RECOMMENDING: tuple[Kind, ...] = ("given", "retrieved")
EVENTS: tuple[Kind, ...] = ("event", "batch")
BATCH = 20
_NEW_ITEMS = 20
PATIENCE_S = 15.0
"""A caller leaves after this time."""
_TYPES = ("view", "click", "like", "like", "dislike")
_JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; `events` are the ids in it."""

    kind: Kind
    method: str
    path: str
    body: Any
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a caller saw.

    Attributes:
        at: when the request was due, in seconds of `time.monotonic`.
        latency_s: from then to the end of the answer, so that a late sender does not hide waiting.
        status: of the answer; 0 without one.
        reason: why a recommendation was degraded; "" if it was not.
        accepted: events that were acknowledged.
    """

    kind: Kind
    at: float
    latency_s: float
    status: int
    reason: str = ""
    accepted: int = 0

    @property
    def failed(self) -> bool:
        """No answer, or one of a broken service."""
        return self.status == 0 or self.status >= 500

    @property
    def full(self) -> bool:
        """It got what was asked for: a ranking by the model, or an acknowledgement."""
        return 200 <= self.status < 300 and not self.reason


class Mix:
    """Draws requests of known users about known items. The same seed draws the same ones.

    Args:
        run: begins the ids of events, so that those of several runs differ.
        candidates: of a request that names them.
    """

    def __init__(
        self, users: Sequence[str], items: Mapping[str, str], run: str, *, candidates: int, deadline_ms: int
    ) -> None:
        self._users, self._items, self._titles = users, list(items), items
        self._run, self._candidates, self._deadline_ms = run, candidates, deadline_ms
        self._random = random.Random(run)
        self._drawn = 0

    def draw(self) -> Ask:
        """The next request."""
        kind: Kind = self._random.choices(list(SHARES), list(SHARES.values()))[0]
        match kind:
            case "event":
                event = self._event()
                return Ask(kind, "POST", "/events", event, (event["event_id"],))
            case "batch":
                events = [self._event() for _ in range(BATCH)]
                return Ask(kind, "POST", "/events", events, tuple(event["event_id"] for event in events))
            case "item":
                item_id = self._random.choice(self._items)
                price = self._random.randrange(1000)
                return Ask(
                    kind, "PUT", f"/items/{item_id}", {"title": self._titles[item_id], "attributes": {"price": price}}
                )
            case "picture":
                body = {"title": "A new picture", "image_base64": self._picture()}
                return Ask(kind, "PUT", f"/items/new-{self._random.randrange(_NEW_ITEMS)}", body)
            case _:
                body = {"user_id": self._random.choice(self._users), "deadline_ms": self._deadline_ms}
                if kind == "given":
                    body["candidates"] = self._random.sample(self._items, self._candidates)
                return Ask(kind, "POST", "/recommend", body)

    def _picture(self) -> str:
        """One that was not sent before."""
        noise = Image.frombytes("RGB", (8, 8), self._random.randbytes(192)).resize((64, 64))
        out = io.BytesIO()
        noise.save(out, "JPEG")
        return b64encode(out.getvalue()).decode()

    def _event(self) -> dict[str, Any]:
        self._drawn += 1
        return {
            "event_id": f"{self._run}-{self._drawn}",
            "user_id": self._random.choice(self._users),
            "item_id": self._random.choice(self._items),
            "type": self._random.choice(_TYPES),
        }


@dataclass
class Caller:
    """Sends requests, and notes the ids of acknowledged events in `accepted`."""

    http: aiohttp.ClientSession
    url: str
    accepted: set[str] = field(default_factory=set)

    async def send(self, ask: Ask, due: float) -> Outcome:
        """One request without a retry; `due` is when it should have been sent."""
        status, answer = 0, None
        try:
            async with self.http.request(
                ask.method, self.url + ask.path, data=orjson.dumps(ask.body), headers=_JSON
            ) as response:
                content = await response.read()
                status = response.status
            answer = orjson.loads(content) if status < 300 and content else None
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        latency_s = time.monotonic() - due
        if answer is None:
            return Outcome(ask.kind, due, latency_s, status)
        return Outcome(
            ask.kind, due, latency_s, status, answer.get("degraded_reason") or "", self._acknowledged(ask, answer)
        )

    def _acknowledged(self, ask: Ask, answer: Mapping[str, Any]) -> int:
        if not ask.events:
            return 0
        rejected = {one["index"] for one in answer["rejected"]}
        accepted = [one for index, one in enumerate(ask.events) if index not in rejected]
        self.accepted.update(accepted)
        return len(accepted)


@asynccontextmanager
async def calling(url: str) -> AsyncIterator["Caller"]:
    """A caller of the service at `url`, with as many connections as it needs."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        yield Caller(http, url)


async def at_rate(
    caller: Caller, mix: Mix, rate: float, seconds: float, tick: Callable[[float], None] = lambda done: None
) -> list[Outcome]:
    """Requests that arrive at random (Poisson), `rate` a second, and do not wait for one another.

    Args:
        tick: hears how many seconds have passed since it was last called.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [task async for task in _arrivals(caller, mix, rate, seconds, tick, group.create_task)]
    return [task.result() for task in tasks]


async def _arrivals(
    caller: Caller,
    mix: Mix,
    rate: float,
    seconds: float,
    tick: Callable[[float], None],
    start: Callable[..., asyncio.Task[Outcome]],
) -> AsyncIterator[asyncio.Task[Outcome]]:
    began = due = time.monotonic()
    chance = random.Random(f"{rate} {seconds}")
    while (due := due + chance.expovariate(rate)) < began + seconds:
        before = time.monotonic()
        await asyncio.sleep(max(0.0, due - before))
        tick(time.monotonic() - before)
        yield start(caller.send(mix.draw(), due))


async def in_turns(caller: Caller, mix: Mix, clients: int, seconds: float) -> list[Outcome]:
    """`clients` callers, each of which waits for an answer before it sends the next request."""
    outcomes: list[Outcome] = []
    end = time.monotonic() + seconds

    async def one() -> None:
        while (now := time.monotonic()) < end:
            outcomes.append(await caller.send(mix.draw(), now))

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(one())
    return outcomes


def reasons(outcomes: Sequence[Outcome]) -> str:
    """Why answers were degraded, most frequent first: `ranker_busy 12, ranker_late 3`."""
    counts = Counter(outcome.reason for outcome in outcomes if outcome.reason)
    return ", ".join(f"{reason} {count}" for reason, count in counts.most_common()) or "-"


def statuses(outcomes: Sequence[Outcome]) -> str:
    """How often each status was answered: `200: 31, 503: 2, none: 1`."""
    counts = Counter(outcome.status for outcome in outcomes)
    return ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(counts.items())) or "-"


def of(outcomes: Sequence[Outcome], kinds: Sequence[Kind]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.kind in kinds]


def until_true(condition: Callable[[], Awaitable[bool]], within_s: float) -> Awaitable[bool]:
    """Whether `condition` became true within `within_s` seconds."""

    async def wait() -> bool:
        end = time.monotonic() + within_s
        while not (done := await condition()) and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        return done

    return wait()
