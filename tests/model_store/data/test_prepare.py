"""A k-core is what its definition says, and samples of users grow without exchanging users."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.data.prepare import k_core, moment_of, sample_users, without_copied_users, without_copies
from model_store.data.rows import InteractionRow

ROWS = st.lists(
    st.builds(InteractionRow, st.sampled_from("abcdef"), st.sampled_from("uvwxyz"), st.integers(0, 9)), max_size=60
)


def row(user: str, item: str, at: float = 0) -> InteractionRow:
    return InteractionRow(user, item, at)


@given(ROWS, st.integers(1, 4))
def test_in_a_k_core_everything_has_k_partners_and_nothing_more_could_stay(rows: list[InteractionRow], k: int) -> None:
    core = k_core(rows, k)
    pairs = {(one.user_id, one.item_id) for one in core}
    for place in (0, 1):
        assert all(count >= k for count in Counter(pair[place] for pair in pairs).values())
    # Peeled one by one instead of round by round.
    left = {(one.user_id, one.item_id) for one in rows}
    while True:
        weak = next((pair for pair in left if _partners(left, pair) < k), None)
        if weak is None:
            break
        left.remove(weak)
    assert pairs == left
    assert core == [one for one in rows if (one.user_id, one.item_id) in pairs]


def _partners(pairs: set[tuple[str, str]], pair: tuple[str, str]) -> int:
    return min(sum(one[place] == pair[place] for one in pairs) for place in (0, 1))


def test_repeated_interactions_count_once() -> None:
    rows = [row("a", "u", n) for n in range(5)]
    assert k_core(rows, 2) == []
    assert k_core(rows, 1) == rows


def test_a_larger_sample_contains_a_smaller_one_and_seeds_differ() -> None:
    rows = [row(f"u{n}", "i") for n in range(100)]
    small, large, other = ({one.user_id for one in sample_users(rows, *given)} for given in ((10, 1), (30, 1), (10, 2)))
    assert (len(small), len(large)) == (10, 30)
    assert small < large
    assert small != other


def test_copies_of_rows_and_of_users_are_removed() -> None:
    rows = [row("a", "u", 1), row("a", "u", 1), row("a", "u", 2)]
    assert without_copies(rows) == [row("a", "u", 1), row("a", "u", 2)]
    history = [("u", 1), ("v", 2), ("w", 3), ("x", 4), ("y", 5)]
    users = [row(user, *event) for user in ("a", "b") for event in history]
    users += [row("c", item, -at) for item, at in history] + [row("d", "u"), row("e", "u")]
    assert {one.user_id for one in without_copied_users(users)} == {"a", "c", "d", "e"}


def test_the_moment_is_that_of_the_time_protocol() -> None:
    numpy = pytest.importorskip("numpy")
    moments = [3.0, 1.0, 10.0, 7.5, 2.0, 2.0]
    rows = [row("a", "u", at) for at in moments]
    for share in (0.0, 0.3, 0.8, 1.0):
        assert moment_of(rows, share) == pytest.approx(float(numpy.quantile(moments, share)))
