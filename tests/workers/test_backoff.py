from hypothesis import given
from hypothesis import strategies as st

from workers.backoff import Pause, Retry


@given(st.integers(0, 10_000), st.floats(0.01, 10), st.floats(10, 1000), st.floats(0, 1))
def test_a_delay_is_at_most_the_maximum_and_at_least_half_its_step(
    failures: int, initial_s: float, max_s: float, jitter: float
) -> None:
    retry = Retry(1, initial_s, max_s)
    step = retry.delay_s(failures, 0)
    assert step / 2 <= retry.delay_s(failures, jitter) <= step <= max_s
    assert step <= retry.delay_s(failures + 1, 0)


def test_a_pause_grows_with_each_failure_in_a_row_and_ends_with_a_success() -> None:
    now = 100.0
    pause = Pause(Retry(1, 1, 5), clock=lambda: now, jitter=lambda: 0)
    assert pause.left_s() == 0
    waits = []
    for _ in range(5):
        waits.append(pause.trip())
        assert pause.trip() == waits[-1], "a failure during the pause is part of the same outage"
        now += waits[-1]
        assert pause.left_s() == 0
    assert waits == [1, 2, 4, 5, 5]
    pause.trip()
    pause.clear()
    assert pause.left_s() == 0
    assert pause.trip() == 1


def test_a_success_since_a_call_began_is_known() -> None:
    now = 100.0
    pause = Pause(Retry(1, 1, 5), clock=lambda: now)
    began = pause.now()
    assert not pause.cleared_since(began)
    now = 101
    pause.clear()
    assert pause.cleared_since(began)
    assert not pause.cleared_since(101.5)
