"""Retries stay a small share of the calls, whatever happens."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.engine.retry_budget import RetryBudget


def test_when_everything_fails_a_tenth_of_the_calls_is_retried() -> None:
    budget = RetryBudget(0.1, size=10, clock=lambda: 0.0)
    retried = 0
    for _ in range(1000):
        budget.called()
        retried += budget.take()
    assert retried == pytest.approx(10 + 100, abs=1)
    assert budget.left < 0.2


def test_after_a_quiet_time_a_few_retries_are_allowed() -> None:
    now = 0.0
    budget = RetryBudget(0.0, size=2, per_s=0.1, clock=lambda: now)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    now = 10.0
    assert [budget.take() for _ in range(2)] == [True, False]
    now = 1000.0
    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_a_change_is_told() -> None:
    budget = RetryBudget(0.5, size=4, clock=lambda: 0.0)
    told: list[float] = []
    budget.on_change = told.append
    budget.take()
    budget.called()
    budget.called()
    budget.called()
    assert told == [0.75, 0.875, 1.0]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=300), st.floats(0, 1), st.integers(1, 20))
def test_it_never_exceeds_its_share(events: Sequence[tuple[bool, float]], share: float, size: int) -> None:
    now = 0.0
    budget = RetryBudget(share, size=size, per_s=0.1, clock=lambda: now)
    calls = retries = 0
    for is_call, seconds in events:
        now += seconds
        if is_call:
            budget.called()
            calls += 1
        else:
            retries += budget.take()
        assert 0 <= budget.left <= 1
    assert retries <= size + share * calls + 0.1 * now + 1e-6
