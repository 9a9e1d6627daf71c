from hypothesis import given
from hypothesis import strategies as st

from workers.backoff import Pause, delay_s


@given(st.integers(0, 10_000), st.floats(0.01, 10), st.floats(10, 1000), st.floats(0, 1))
def test_a_delay_is_never_longer_than_the_most_nor_shorter_than_half_its_step(
    attempt: int, base_s: float, most_s: float, jitter: float
) -> None:
    delay = delay_s(attempt, base_s, most_s, jitter)
    step = delay_s(attempt, base_s, most_s, 0)
    assert step / 2 <= delay <= step <= most_s
    assert step <= delay_s(attempt + 1, base_s, most_s, 0)


def test_a_pause_grows_with_each_failure_in_a_row_and_ends_with_a_success() -> None:
    now = 100.0
    pause = Pause(1, 5, clock=lambda: now, jitter=lambda: 0)
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
    pause = Pause(1, 5, clock=lambda: now)
    began = pause.now()
    assert not pause.cleared_since(began)
    now = 101
    pause.clear()
    assert pause.cleared_since(began)
    assert not pause.cleared_since(101.5)
