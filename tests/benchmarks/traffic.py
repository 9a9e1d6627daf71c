"""Random events, encoded beforehand, and a client light enough to share two cores with what it measures."""

import asyncio
import gc
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import orjson
import uvloop

from model_store.errors import UserError

ITEMS = 100_000
KINDS = ("view", "view", "click", "like", "dislike")


def now_ms() -> int:
    """The time of an acceptance."""
    return time.time_ns() // 1_000_000


def user_id(number: int) -> str:
    return f"user-{number:07}"


class Events:
    """Draws distinct events of random users. The same seed draws the same ones.

    Args:
        active: how many users, evenly spread over all, the events are of; all when it is not given.
    """

    def __init__(self, users: int, *, ids: bool = False, seed: int = 0, active: int | None = None) -> None:
        self._active = min(active or users, users)
        self._apart = users // self._active
        self._ids = ids
        self._random = random.Random(seed)
        self._drawn = 0

    def draw(self, count: int) -> list[dict[str, object]]:
        """`count` events as the wire has them, a second apart."""
        return [self._event() for _ in range(count)]

    def _event(self) -> dict[str, object]:
        self._drawn += 1
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_750_000_000 + self._drawn))
        event: dict[str, object] = {
            "user_id": user_id(self._random.randrange(self._active) * self._apart),
            "item_id": f"item-{self._random.randrange(ITEMS):06}",
            "type": self._random.choice(KINDS),
            "timestamp": moment,
        }
        return {"event_id": f"{self._random.getrandbits(128):032x}", **event} if self._ids else event


@dataclass(frozen=True)
class Request:
    """The bytes of a request, and those of the body that must come back; None: any body of a 2xx."""

    sent: bytes
    answer: bytes | None = None


def requests(events: Sequence[dict[str, object]], batch: int) -> list[Request]:
    """`events` in requests of `batch` each; one alone is sent as an object."""
    return [_request(events[start : start + batch]) for start in range(0, len(events), batch)]


def _request(events: Sequence[dict[str, object]]) -> Request:
    return post("/events", events if len(events) > 1 else events[0], answer(len(events)))


def post(path: str, body: object, answer: bytes | None = None) -> Request:
    """A POST of `body` as JSON."""
    content = orjson.dumps(body)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n"
    )
    return Request(f"{head}\r\n".encode() + content, answer)


def answer(accepted: int) -> bytes:
    """What the service says when it took all events of a request."""
    return orjson.dumps({"accepted": accepted, "duplicates": 0, "rejected": []})


def send_timed(url: str, sent: Sequence[bytes], connections: int) -> tuple[list[float], list[float]]:
    """Send everything as `send` does; returns when each 2xx came, in seconds of one clock, and after how long."""
    port = int(url.rpartition(":")[2])
    seen: list[float] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        _, latencies = runner.run(exchange(port, [Request(one) for one in sent], connections, seen))
    return seen, latencies


def send(port: int, sent: Sequence[Request], connections: int) -> tuple[float, list[float]]:
    """Send everything over `connections` connections, one request at a time on each.

    Returns:
        The seconds it took, and those of each request.

    Raises:
        UserError: an answer was not the one that was expected.
    """
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(exchange(port, sent, connections))
    finally:
        gc.enable()


async def exchange(
    port: int, sent: Sequence[Request], connections: int, came: list[float] | None = None
) -> tuple[float, list[float]]:
    """`send`, in the running loop; `came` takes the time at which each answer was there."""
    loop = asyncio.get_running_loop()
    left, latencies = iter(sent), list[float]()
    clients = [
        _Connection(left, latencies, [] if came is None else came, loop.create_future()) for _ in range(connections)
    ]
    for client in clients:
        await client.open(port)
    started = time.perf_counter()
    for client in clients:
        client.next()
    try:
        await asyncio.gather(*(client.done for client in clients))
    finally:
        for client in clients:
            client.close()
    return time.perf_counter() - started, latencies


class _Connection(asyncio.Protocol):
    """Takes requests from `left` until there is none."""

    def __init__(
        self, left: Iterator[Request], latencies: list[float], came: list[float], done: "asyncio.Future[None]"
    ) -> None:
        self.done = done
        self._left = left
        self._latencies = latencies
        self._came = came
        self._received = b""

    async def open(self, port: int) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(UserError(f"the server closed the connection: {error or 'no reason given'}"))

    def next(self) -> None:
        request = next(self._left, None)
        if request is None:
            self.done.set_result(None)
            return
        self._expected = request.answer
        self._sent_at = time.perf_counter()
        self._transport.write(request.sent)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        now = time.perf_counter()
        self._latencies.append(now - self._sent_at)
        self._came.append(now)
        self._received = b""
        good = head[9:10] == b"2" if self._expected is None else body == self._expected
        if not good and not self.done.done():
            self.done.set_exception(UserError(f"not what was expected: {head[:40]!r} {body[:300]!r}"))
            return
        self.next()

    def close(self) -> None:
        self._transport.close()
