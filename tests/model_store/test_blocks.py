from hypothesis import given
from hypothesis import strategies as st

from model_store.blocks import blocks

SIZES = st.tuples(st.integers(1, 6), st.integers(0, 20), st.integers(1, 8)).map(lambda s: (s[0], s[0] + s[1], s[2]))


@given(st.integers(0, 400), SIZES)
def test_every_event_is_in_one_block(pending: int, sizes: tuple[int, int, int]) -> None:
    lengths = blocks(pending, *sizes)
    assert sum(lengths) == pending
    assert all(length > 0 for length in lengths)


@given(st.integers(1, 400), SIZES)
def test_no_block_is_longer_than_the_largest(pending: int, sizes: tuple[int, int, int]) -> None:
    assert max(blocks(pending, *sizes)) <= sizes[1]


@given(st.integers(1, 400), SIZES)
def test_never_more_calls_than_full_blocks_unless_blocks_may_not_grow(
    pending: int, sizes: tuple[int, int, int]
) -> None:
    size, largest, _ = sizes
    lengths = blocks(pending, *sizes)
    assert len(lengths) <= -(-pending // size)
    if largest >= 2 * size - 1:
        assert len(lengths) <= max(1, pending // size)


@given(st.integers(1, 400), SIZES)
def test_a_claim_that_fits_takes_no_more_than_its_steps(pending: int, sizes: tuple[int, int, int]) -> None:
    _, largest, steps = sizes
    if pending <= largest * steps:
        assert len(blocks(pending, *sizes)) <= steps


@given(st.integers(1, 400), SIZES)
def test_blocks_are_of_even_length(pending: int, sizes: tuple[int, int, int]) -> None:
    lengths = blocks(pending, *sizes)
    assert max(lengths) - min(lengths) <= 1


def test_a_few_events_make_blocks_of_the_usual_size_and_many_make_longer_ones() -> None:
    assert blocks(1, 3, 12, 4) == [1]
    assert blocks(3, 3, 12, 4) == [3]
    assert blocks(5, 3, 12, 4) == [5]
    assert blocks(9, 3, 12, 4) == [3, 3, 3]
    assert blocks(10, 3, 12, 4) == [4, 3, 3]
    assert blocks(30, 3, 12, 4) == [8, 8, 7, 7]
    assert blocks(48, 3, 12, 4) == [12, 12, 12, 12]
