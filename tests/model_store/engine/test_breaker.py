"""What the circuit breaker promises: it opens when a server fails, not when callers have no time, and closes again."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.engine.breaker import Breaker, BreakerRules, State
from model_store.engine.errors import (
    BadAnswer,
    CircuitOpen,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    WrongScores,
)
from model_store.engine.guard import guarded

RULES = BreakerRules(run=5, ratio=0.5, window_s=10, min_calls=20, open_s=1, max_open_s=8, probes=2)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(RULES, clock=clock, jitter=lambda: 0.0)


def enter(breaker: Breaker) -> int:
    permit = breaker.enter()
    assert permit is not None
    return permit


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.fail(enter(breaker))


def reopen(breaker: Breaker, clock: Clock) -> float:
    """Fail one probe; returns how long the breaker is open afterwards."""
    clock.now += breaker.wait_s()
    fail(breaker)
    return breaker.wait_s()


def test_a_run_of_failures_opens_it(breaker: Breaker) -> None:
    fail(breaker, RULES.run - 1)
    breaker.succeed(enter(breaker), 0.1)
    fail(breaker, RULES.run - 1)
    assert breaker.state is State.CLOSED
    fail(breaker)
    assert breaker.state is State.OPEN
    assert breaker.enter() is None


def test_a_share_of_failures_opens_it_only_among_enough_calls(breaker: Breaker) -> None:
    for _ in range(RULES.min_calls // 2 - 1):
        breaker.succeed(enter(breaker), 0.1)
        fail(breaker)
    assert breaker.state is State.CLOSED
    breaker.succeed(enter(breaker), 0.1)
    fail(breaker)
    assert breaker.state is State.OPEN


def test_failures_before_the_window_do_not_count(breaker: Breaker, clock: Clock) -> None:
    for _ in range(RULES.min_calls - 1):
        fail(breaker)
        breaker.succeed(enter(breaker), 0.1)
        clock.now += RULES.window_s / 8
    assert breaker.state is State.CLOSED


def test_a_few_probes_at_a_time_find_out_whether_the_server_is_back(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, RULES.run)
    clock.now += breaker.wait_s() - 0.01
    assert breaker.enter() is None
    clock.now += 0.01
    first, second = enter(breaker), enter(breaker)
    assert breaker.state is State.HALF_OPEN
    assert breaker.enter() is None
    assert breaker.wait_s() > 0
    breaker.succeed(first, 0.1)
    third = enter(breaker)
    breaker.succeed(second, 0.1)
    assert breaker.state is State.CLOSED
    breaker.fail(third)
    assert breaker.state is State.CLOSED, "a call that began before says nothing about the state now"


def test_calls_that_began_before_it_opened_neither_close_nor_open_it(breaker: Breaker, clock: Clock) -> None:
    slow = [enter(breaker) for _ in range(3)]
    fail(breaker, RULES.run)
    breaker.succeed(slow[0], 5.0)
    assert breaker.state is State.OPEN
    clock.now += breaker.wait_s()
    enter(breaker)
    breaker.fail(slow[1])
    breaker.time_out(slow[2], 60.0)
    assert breaker.state is State.HALF_OPEN


def test_each_failed_probe_doubles_the_time_up_to_the_longest(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, RULES.run)
    waits = [breaker.wait_s(), *(reopen(breaker, clock) for _ in range(5))]
    assert waits == [1, 2, 4, 8, 8, 8]


def test_a_server_that_works_for_a_while_starts_with_the_shortest_time_again(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, RULES.run)
    reopen(breaker, clock)

    def close() -> None:
        clock.now += breaker.wait_s()
        for _ in range(RULES.probes):
            breaker.succeed(enter(breaker), 0.1)
        assert breaker.state is State.CLOSED

    close()
    fail(breaker, RULES.run)
    assert breaker.wait_s() == 4, "it failed again at once"
    close()
    clock.now += RULES.max_open_s + 1
    fail(breaker, RULES.run)
    assert breaker.wait_s() == 1


def test_jitter_shortens_the_time_by_up_to_a_quarter(clock: Clock) -> None:
    breaker = Breaker(RULES, clock=clock, jitter=lambda: 1.0)
    fail(breaker, RULES.run)
    assert breaker.wait_s() == pytest.approx(0.75)


def test_callers_in_a_hurry_do_not_open_it(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.succeed(enter(breaker), 0.2)
    for _ in range(100):
        breaker.time_out(enter(breaker), 0.39)
    assert breaker.state is State.CLOSED
    for _ in range(RULES.run):
        breaker.time_out(enter(breaker), 0.41)
    assert breaker.state is State.OPEN


def test_a_server_that_never_answered_is_given_a_second(breaker: Breaker) -> None:
    for _ in range(100):
        breaker.time_out(enter(breaker), 0.9)
    assert breaker.state is State.CLOSED
    for _ in range(RULES.run):
        breaker.time_out(enter(breaker), 1.1)
    assert breaker.state is State.OPEN


def test_a_probe_that_says_nothing_makes_room_for_another(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, RULES.run)
    clock.now += breaker.wait_s()
    for _ in range(10):
        breaker.abandon(enter(breaker))
        breaker.time_out(enter(breaker), 0.0)
    assert breaker.state is State.HALF_OPEN


def test_a_server_without_room_is_not_failing_but_not_probed_either(breaker: Breaker, clock: Clock) -> None:
    for _ in range(100):
        breaker.shed(enter(breaker))
    assert breaker.state is State.CLOSED
    fail(breaker, RULES.run)
    clock.now += breaker.wait_s()
    breaker.shed(enter(breaker))
    assert breaker.state is State.OPEN


@pytest.mark.parametrize(
    ("error", "opens"),
    [
        (EngineUnavailable("down"), True),
        (WrongScores("another head"), True),
        (EngineOverloaded("full"), False),
        (EngineRejected("no", 400), False),
        (BadAnswer("empty", "nothing"), False),
        (EngineTimeout("at once"), False),
        (ValueError("a mistake"), False),
    ],
)
def test_what_an_error_says_about_the_server(breaker: Breaker, error: Exception, opens: bool) -> None:
    for _ in range(RULES.run):
        with pytest.raises(type(error)), guarded(breaker, "http://a"):
            raise error
    assert (breaker.state is State.OPEN) is opens
    if opens:
        with pytest.raises(CircuitOpen, match="http://a"), guarded(breaker, "http://a"):
            raise AssertionError("the server is not asked")


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "succeed", "fail", "time_out", "shed", "abandon"]), st.floats(0, 3), st.integers(0, 9)
    ),
    max_size=200,
)


@given(ACTIONS, st.floats(0, 1))
def test_whatever_happens_it_lets_calls_through_again(actions: Sequence[tuple[str, float, int]], jitter: float) -> None:
    clock = Clock()
    breaker = Breaker(RULES, clock=clock, jitter=lambda: jitter)
    states = [State.CLOSED]
    breaker.on_change = states.append
    permits: list[int] = []
    for action, seconds, place in actions:
        clock.now += seconds
        if action == "enter":
            may = breaker.wait_s() == 0
            permit = breaker.enter()
            assert (permit is not None) is may
            permits += [] if permit is None else [permit]
        elif permits:
            permit = permits.pop(place % len(permits))
            extra = (seconds,) if action in ("succeed", "time_out") else ()
            getattr(breaker, action)(permit, *extra)
        assert 0 <= breaker.wait_s() <= RULES.max_open_s
        assert breaker.state is states[-1]
    assert all(one is not other for one, other in pairwise(states))
    for permit in permits:
        breaker.abandon(permit)
    for _ in range(RULES.probes):
        clock.now += breaker.wait_s()
        breaker.succeed(enter(breaker), 0.1)
    assert breaker.state is State.CLOSED
