"""The limit of concurrent calls follows what the ranker can do, and no caller's deadline moves it for the others."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.recommend.concurrency import ConcurrencyLimit

DEADLINE_S = 2.0


def serve(limit: ConcurrencyLimit, calls: int, capacity: int, alone_s: float, given_s: float = DEADLINE_S) -> float:
    """As many calls at a time as the limit allows, on a server that works on `capacity` of them in the time of one.

    Returns:
        The latency at the end, in seconds.
    """
    took_s = alone_s
    for _ in range(calls):
        in_flight = limit.limit
        took_s = alone_s * max(1.0, in_flight / capacity)
        call = limit.begin()
        if took_s <= given_s:
            limit.answered(call, took_s=took_s, asked_s=given_s, in_flight=in_flight)
        else:
            limit.late(call, waited_s=given_s, asked_s=given_s)
    return took_s


@pytest.mark.parametrize(("capacity", "alone_s"), [(1, 0.1), (4, 0.1), (16, 0.3), (32, 0.04), (2, 0.8)])
def test_it_uses_the_whole_server_and_leaves_calls_half_of_their_time(capacity: int, alone_s: float) -> None:
    limit = ConcurrencyLimit(1, 64, DEADLINE_S)
    took_s = serve(limit, 20_000, capacity, alone_s)
    assert limit.limit >= min(64, capacity)
    assert took_s <= DEADLINE_S / 2 * 1.2


def test_it_follows_a_server_that_becomes_slower_and_faster_again() -> None:
    limit = ConcurrencyLimit(1, 64, DEADLINE_S)
    serve(limit, 5000, 32, 0.1)
    assert limit.limit == 64
    serve(limit, 5000, 2, 0.4)
    assert 2 <= limit.limit <= 6
    serve(limit, 5000, 32, 0.1)
    assert limit.limit == 64


def test_unused_places_do_not_raise_it() -> None:
    limit = ConcurrencyLimit(1, 64, DEADLINE_S)
    for _ in range(1000):
        limit.answered(limit.begin(), took_s=0.1, asked_s=DEADLINE_S, in_flight=3)
    assert limit.limit == 8


def test_short_deadlines_of_one_caller_do_not_lower_it() -> None:
    limit = ConcurrencyLimit(1, 64, DEADLINE_S)
    serve(limit, 1000, 32, 0.3)
    before = limit.limit
    for _ in range(1000):
        limit.late(limit.begin(), waited_s=0.2, asked_s=0.2)
        limit.answered(limit.begin(), took_s=0.31, asked_s=0.4, in_flight=before)
    assert limit.limit == before


def test_a_request_that_waited_long_and_had_little_time_left_does_not_lower_it() -> None:
    limit = ConcurrencyLimit(1, 64, DEADLINE_S)
    serve(limit, 1000, 32, 0.3)
    before = limit.limit
    limit.late(limit.begin(), waited_s=0.9, asked_s=DEADLINE_S)
    assert limit.limit == before
    limit.late(limit.begin(), waited_s=1.1, asked_s=DEADLINE_S)
    assert limit.limit < before


def test_long_deadlines_of_one_caller_do_not_raise_it() -> None:
    limit = ConcurrencyLimit(1, 64, DEADLINE_S)
    took_s = serve(limit, 5000, 4, 0.2, given_s=30.0)
    assert took_s <= DEADLINE_S / 2 * 1.3


def test_when_all_deadlines_are_short_calls_still_end_in_time() -> None:
    limit = ConcurrencyLimit(1, 64, DEADLINE_S)
    assert serve(limit, 5000, 4, 0.05, given_s=0.4) <= 0.2 * 1.4


def test_calls_that_fail_together_lower_it_once() -> None:
    limit = ConcurrencyLimit(1, 64, DEADLINE_S)
    calls = [limit.begin() for _ in range(8)]
    for call in calls:
        limit.shed(call)
    assert limit.limit == 6
    limit.shed(limit.begin())
    assert limit.limit == 5


@given(
    st.integers(1, 20),
    st.integers(0, 100),
    st.lists(st.tuples(st.sampled_from("als"), st.floats(0, 60), st.floats(0.001, 60), st.integers(1, 200))),
)
def test_it_never_leaves_its_bounds(low: int, more: int, calls: Sequence[tuple[str, float, float, int]]) -> None:
    limit = ConcurrencyLimit(low, low + more, DEADLINE_S)
    for kind, took_s, given_s, in_flight in calls:
        call = limit.begin()
        match kind:
            case "a":
                limit.answered(call, took_s=took_s, asked_s=given_s, in_flight=in_flight)
            case "l":
                limit.late(call, waited_s=took_s, asked_s=given_s)
            case _:
                limit.shed(call)
        assert low <= limit.limit <= low + more
