from hypothesis import given
from hypothesis import strategies as st

from service.state.allocate import allocate

WAITING = st.lists(st.integers(0, 50), min_size=1, max_size=20)


@given(st.integers(0, 100), WAITING, st.integers(0, 19))
def test_the_shares_add_up_to_the_limit(limit: int, waiting: list[int], start: int) -> None:
    shares = allocate(limit, waiting, start)
    assert sum(shares) == limit
    assert min(shares) >= 0


@given(st.integers(0, 100), WAITING, st.integers(0, 19))
def test_no_known_work_is_left_while_another_bucket_gets_more_than_it_holds(
    limit: int, waiting: list[int], start: int
) -> None:
    shares = allocate(limit, waiting, start)
    if any(share > work for share, work in zip(shares, waiting, strict=True)):
        assert all(share >= work for share, work in zip(shares, waiting, strict=True))


@given(st.integers(0, 100), WAITING, st.integers(0, 19))
def test_a_bucket_gets_less_than_another_only_when_it_holds_no_more(limit: int, waiting: list[int], start: int) -> None:
    shares = allocate(limit, waiting, start)
    for share, work in zip(shares, waiting, strict=True):
        if share < work:
            assert all(other <= share + 1 for other in shares)


@given(WAITING)
def test_a_single_turn_goes_round(waiting: list[int]) -> None:
    size = len(waiting)
    turns = [allocate(1, [1] * size, start).index(1) for start in range(size)]
    assert sorted(turns) == list(range(size))
