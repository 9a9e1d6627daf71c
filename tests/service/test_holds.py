"""The promise that no request blocks the others: untrusted bodies are processed in short steps."""

import gc
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from service.events.batch import PARSED_AT_ONCE, parse_events
from service.heap import freeze_heap
from service.http.ndjson import parse_line, pieces
from service.items.catalogue import read_items
from service.settings.limits import LimitSettings
from tests.service.conftest import Gateway, OpenGateway
from tests.service.holding import holds, in_pieces

HOLD_S = 0.5
"""Ten times what is promised, for slow machines. Without limits, these bodies took 0.8 to 60 s."""
MB = 1024 * 1024
JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
DEEP = b"[" + b"[" * 900 + b"]" * 900 + b"]"
EVENT = {"user_id": "u", "item_id": "i"}
ITEM = {"item_id": "i", "title": "t"}


def many(value: bytes, size: int) -> bytes:
    """An array of some `size` bytes that repeats `value`."""
    return b"[" + (value + b",") * (size // (len(value) + 1)) + value + b"]"


def keys(number: int) -> bytes:
    return b",".join(b'"%d":1' % one for one in range(number))


def candidates(**fields: Any) -> bytes:
    return orjson.dumps({"user_id": "u", "candidates": [{**ITEM, "item_id": f"i{n}", **fields} for n in range(500)]})


HOSTILE: dict[str, tuple[str, str, dict[str, str], Callable[[], bytes], int]] = {
    "lines that are no events": ("POST", "/events", NDJSON, lambda: b"1\n" * MB, 422),
    "lines that are no JSON": ("POST", "/events", NDJSON, lambda: b"x\n" * MB, 422),
    "blank lines": ("POST", "/events", NDJSON, lambda: b"\n" * 4 * MB, 202),
    "nested lists as events": ("POST", "/events", JSON, lambda: many(DEEP, 8 * MB - 4000), 413),
    "numbers as events": ("POST", "/events", JSON, lambda: many(b"1", 8 * MB - 4000), 413),
    "fields of an event": ("POST", "/events", JSON, lambda: b"{" + keys(600_000) + b"}", 413),
    "fields of a context": (
        "POST",
        "/events",
        JSON,
        lambda: b'{"user_id":"u","item_id":"i","context":{' + keys(600_000) + b"}}",
        413,
    ),
    "wrong terms of candidates": ("POST", "/recommend", JSON, lambda: candidates(genres=[1] * 90, tags=[1] * 90), 422),
    "more wrong terms": ("POST", "/recommend", JSON, lambda: candidates(genres=[1] * 900, tags=[1] * 900), 413),
    "wrong filters": (
        "POST",
        "/recommend",
        JSON,
        lambda: orjson.dumps({"user_id": "u", "filters": {"attributes": {str(one): {} for one in range(40_000)}}}),
        422,
    ),
    "nested lists as items": ("POST", "/items", JSON, lambda: many(DEEP, 15 * MB), 413),
    "wrong terms of items": (
        "POST",
        "/items",
        NDJSON,
        lambda: (orjson.dumps({**ITEM, "genres": [1] * 3000}) + b"\n") * 1000,
        413,
    ),
    "terms of an item": ("PUT", "/items/i", JSON, lambda: b'{"title":"t","genres":' + many(b"1", 8 * MB) + b"}", 413),
}


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> None:
    """As at the start of the gateway, exclude what the tests have loaded from garbage collection."""
    freeze_heap()


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_untrusted_body_blocks_the_loop(gateway: Gateway, name: str) -> None:
    method, path, headers, make, status = HOSTILE[name]
    body = make()
    with holds() as seen:
        answer = await gateway.client.request(method, path, content=in_pieces(body), headers=headers)
    assert answer.status_code == status, answer.text[:300]
    assert len(answer.content) < MB
    assert seen.longest_s < HOLD_S


async def test_the_largest_accepted_bodies_do_not_block_it(gateway: Gateway) -> None:
    events = [{**EVENT, "item_id": f"i{one}", "context": {"a": "x" * 4080}} for one in range(1000)]
    words = {"title": "t" * 500, "description": "d" * 10_000, "genres": ["g" * 40] * 20}
    items = [{**words, "item_id": f"i{one}", "attributes": {"a": "x" * 2000}} for one in range(1000)]
    for path, value in (("/events", events), ("/items", items)):
        body = orjson.dumps(value)
        with holds() as seen:
            answer = await gateway.client.post(path, content=in_pieces(body))
        assert answer.json()["accepted"] == 1000
        assert seen.longest_s < HOLD_S


async def test_a_long_batch_is_processed_in_steps(gateway: Gateway) -> None:
    async def steps(number: int) -> int:
        body = orjson.dumps([{**EVENT, "colour": 1}] * number)
        with holds() as seen:
            await gateway.client.post("/events", content=body)
        return seen.steps

    # There is a pause between two groups; the step in which the answer arrives is not counted.
    assert await steps(PARSED_AT_ONCE * 4) >= await steps(PARSED_AT_ONCE) + 2


async def test_wrong_lines_create_no_reference_cycles() -> None:
    """Thousands of errors in reference cycles caused full collections of 90 ms."""
    lines: list[Any] = [parse_line(line) for line in (b"x", b"1", b'{"a":1}', orjson.dumps(EVENT)) * 25]
    gc.collect()
    gc.disable()
    try:
        batch = parse_events(lines, 1)
        items = await read_items(lines)
        assert (len(batch.rejected), len(items[1])) == (75, 100)
        del batch, items, lines
        assert gc.collect() < 10
    finally:
        gc.enable()


def test_a_long_chunk_is_split_into_pieces() -> None:
    chunk = bytes(range(256)) * 1000
    cut = list(pieces(chunk))
    assert b"".join(cut) == chunk
    assert max(map(len, cut)) <= 64 * 1024 < len(chunk)


@pytest.mark.parametrize(("path", "limit"), [("/events", "events_bytes"), ("/recommend", "recommend_bytes")])
async def test_each_route_has_its_own_limit(open_gateway: OpenGateway, path: str, limit: str) -> None:
    async with open_gateway(limits=LimitSettings(**{limit: 100})) as gateway:
        answer = await gateway.client.post(path, content=b" " * 101)
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["field"]) == (413, "body_too_large", "body")
        assert "larger than 100 bytes" in problem["detail"]
        items = await gateway.client.post("/items", content=orjson.dumps([{**ITEM, "description": "d" * 200}]))
        assert items.status_code == 202


@pytest.mark.parametrize("path", ["/events", "/recommend", "/items"])
async def test_more_values_than_the_setting_are_a_413(open_gateway: OpenGateway, path: str) -> None:
    async with open_gateway(limits=LimitSettings(json_values=50)) as gateway:
        answer = await gateway.client.post(path, content=many(b"1", 120))
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (413, "body_too_large")
        assert "too many JSON values" in problem["detail"]


async def test_punctuation_in_texts_does_not_count_as_values(open_gateway: OpenGateway) -> None:
    item = {**ITEM, "description": 'a, b, "c", [d], {e}, \\, \\", f\\' * 20}
    async with open_gateway(limits=LimitSettings(json_values=20)) as gateway:
        assert (await gateway.client.post("/items", content=orjson.dumps([item]))).status_code == 202
        lines = orjson.dumps(item) + b"\n" + orjson.dumps({**item, "item_id": "j"})
        assert (await gateway.client.post("/items", content=lines, headers=NDJSON)).json()["accepted"] == 2
