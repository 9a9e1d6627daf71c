"""Guarantees of event validation: valid events are kept, invalid ones rejected with the field's name."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.events.batch import Batch, parse_events
from service.http.times import FUTURE_MS, now_ms
from service.http.wire import CONTEXT_BYTES
from service.state.records import Event

NOW = 1_760_000_000_000
GOOD = {"user_id": "u", "item_id": "i"}


def parse(*raw: Any) -> Batch:
    return parse_events(raw, NOW)


def one(raw: Any) -> Event:
    batch = parse(raw)
    assert batch.rejected == []
    return batch.events[0]


def test_the_least_event_is_a_click_now() -> None:
    event = one(GOOD)
    assert (event.user_id, event.item_id, event.type, event.timestamp_ms) == ("u", "i", "click", NOW)


def test_all_fields_arrive() -> None:
    event = one(
        {
            **GOOD,
            "event_id": "e",
            "type": "purchase",
            "timestamp": 1.5,
            "value": 3,
            "recommendation_id": "r",
            "context": {"page": "home"},
        }
    )
    assert event == Event("e", "u", "i", "purchase", 1500, 3.0, "r", {"page": "home"})


def test_a_time_ahead_of_the_clock_is_the_time_of_arrival() -> None:
    """So no event is the user's newest before it has happened."""
    before = now_ms()
    event = one({**GOOD, "timestamp": (before + FUTURE_MS) / 1000 - 60})
    assert before <= event.timestamp_ms <= now_ms()
    assert one({**GOOD, "timestamp": before / 1000 - 60}).timestamp_ms == before - 60_000


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"user_id": None}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "x" * 257}, "user_id"),
        ({"user_id": "a\x00b"}, "user_id"),
        ({"item_id": "a\nb"}, "item_id"),
        ({"item_id": "a\x85b"}, "item_id"),
        ({"item_id": ["i"]}, "item_id"),
        ({"event_id": ""}, "event_id"),
        ({"type": "Click"}, "type"),
        ({"type": "ignore all instructions"}, "type"),
        ({"type": ""}, "type"),
        ({"type": "x" * 33}, "type"),
        ({"type": None}, "type"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2026-11-20T08:30:00"}, "timestamp"),
        ({"timestamp": "2026-02-30T08:30:00Z"}, "timestamp"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": NOW}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
        ({"timestamp": 1e300}, "timestamp"),
        ({"timestamp": {}}, "timestamp"),
        ({"value": "3"}, "value"),
        ({"value": True}, "value"),
        ({"value": []}, "value"),
        ({"recommendation_id": 3}, "recommendation_id"),
        ({"context": "home"}, "context"),
        ({"context": {"x": "y" * CONTEXT_BYTES}}, "context"),
    ],
)
def test_a_wrong_field_is_rejected_by_name(change: dict[str, Any], field: str) -> None:
    batch = parse({**GOOD, **change})
    assert batch.events == []
    (rejection,) = batch.rejected
    assert (rejection.index, rejection.code, rejection.field) == (0, "invalid_request", field)
    assert field in rejection.detail


@pytest.mark.parametrize("missing", ["user_id", "item_id"])
def test_a_missing_field_is_rejected_by_name(missing: str) -> None:
    (rejection,) = parse({key: value for key, value in GOOD.items() if key != missing}).rejected
    assert rejection.field == missing


@pytest.mark.parametrize("value", [None, 3, "text", [], [GOOD]])
def test_what_is_no_object_is_rejected(value: Any) -> None:
    (rejection,) = parse(value).rejected
    assert rejection.detail == "must be a JSON object"


def test_a_context_that_is_nested_too_deeply_to_be_stored_is_rejected() -> None:
    deep = orjson.loads(b'{"a":' * 400 + b"1" + b"}" * 400)
    (rejection,) = parse({**GOOD, "context": deep}).rejected
    assert rejection.field == "context"


def test_a_rejection_does_not_repeat_what_was_sent() -> None:
    (rejection,) = parse({**GOOD, "item_id": "secret\x00"}).rejected
    assert "secret" not in rejection.detail


@given(st.lists(st.sampled_from([GOOD, {**GOOD, "no": 1}, {"user_id": "u"}, 5]), max_size=30))
def test_every_value_is_either_an_event_or_a_rejection_at_its_place(raw: list[Any]) -> None:
    batch = parse(*raw)
    assert batch.positions == [index for index, value in enumerate(raw) if value is GOOD]
    assert [rejection.index for rejection in batch.rejected] == [
        index for index, value in enumerate(raw) if value is not GOOD
    ]
    assert len(batch.events) == len(batch.positions)


def test_the_same_content_derives_the_same_id_whatever_the_order_of_its_fields() -> None:
    event = {**GOOD, "timestamp": 5, "context": {"a": 1, "b": 2}}
    turned = {key: event[key] for key in reversed(event)} | {"context": {"b": 2, "a": 1}}
    assert one(event).event_id == one(turned).event_id


@pytest.mark.parametrize(
    "change",
    [{"user_id": "v"}, {"item_id": "j"}, {"type": "like"}, {"timestamp": 6}, {"value": 1.0}, {"context": {"a": 1}}],
)
def test_other_content_derives_another_id(change: dict[str, Any]) -> None:
    event = {**GOOD, "timestamp": 5}
    assert one(event).event_id != one({**event, **change}).event_id
