from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.retrieval.merge import merge_stages

STAGES = "abcd"
ids = st.lists(st.integers(0, 30).map(str), max_size=20, unique=True)
listed = st.dictionaries(st.sampled_from(STAGES), ids)
quotas = st.dictionaries(st.sampled_from(STAGES), st.floats(0, 10))


def test_stages_take_turns_by_their_quotas() -> None:
    lists = {"near": ["1", "2", "3", "4", "5", "6"], "new": ["7", "8", "9"]}
    merged = merge_stages(lists, {"near": 2, "new": 1}, 6)
    assert merged == [("1", "near"), ("7", "new"), ("2", "near"), ("3", "near"), ("8", "new"), ("4", "near")]


def test_a_stage_without_quota_fills_what_the_others_leave() -> None:
    merged = merge_stages({"popular": ["1", "2", "3"], "near": ["2"]}, {"near": 1}, 3)
    assert merged == [("2", "near"), ("1", "popular"), ("3", "popular")]


def test_a_negative_quota_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        merge_stages({}, {"near": -1}, 3)


@given(listed, quotas, st.integers(0, 50))
def test_items_are_distinct_from_their_stage_in_its_order_and_fill_the_list(
    lists: dict[str, list[str]], shares: dict[str, float], k: int
) -> None:
    merged = merge_stages(lists, shares, k)
    named = [item for item, _ in merged]
    assert len(set(named)) == len(named) == min(k, len(set(chain.from_iterable(lists.values()))))
    for stage in STAGES:
        own = [item for item, source in merged if source == stage]
        assert own == [item for item in lists.get(stage, []) if item in own]


@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(1, 20))
def test_no_stage_is_more_than_an_item_ahead_of_its_share(parts: list[int], k: int) -> None:
    lists = {f"s{place}": [f"{place}-{n}" for n in range(20)] for place in range(len(parts))}
    merged = merge_stages(lists, dict(zip(lists, parts, strict=True)), k)
    for stage, part in zip(lists, parts, strict=True):
        had = sum(source == stage for _, source in merged)
        assert had <= k * part / sum(parts) + 1
