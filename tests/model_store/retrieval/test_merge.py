from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from model_store.retrieval.merge import Listed, alternating, in_turns, merged, supply

STAGES = "abcd"
ids = st.lists(st.integers(0, 30).map(str), max_size=20, unique=True)
listed = st.dictionaries(st.sampled_from(STAGES), ids)
quotas = st.dictionaries(st.sampled_from(STAGES), st.floats(0, 10))
limits = st.dictionaries(st.sampled_from(STAGES), st.integers(0, 10))


def sources(
    lists: Mapping[str, Sequence[str]], quotas: Mapping[str, float], most: Mapping[str, int] | None = None
) -> list[Listed]:
    limits = most or {}
    return [Listed(name, deque(ids), quotas.get(name, 0.0), limits.get(name)) for name, ids in lists.items()]


def anything(_: str) -> bool:
    return True


def test_stages_take_turns_by_their_quotas() -> None:
    lists = {"near": ["1", "2", "3", "4", "5", "6"], "new": ["7", "8", "9"]}
    found = merged(sources(lists, {"near": 2, "new": 1}), 6)
    assert found == [("1", "near"), ("7", "new"), ("2", "near"), ("3", "near"), ("8", "new"), ("4", "near")]


def test_a_stage_without_quota_fills_what_the_others_leave() -> None:
    found = merged(sources({"popular": ["1", "2", "3"], "near": ["2"]}, {"near": 1}), 3)
    assert found == [("2", "near"), ("1", "popular"), ("3", "popular")]


def test_stages_without_quotas_are_used_in_their_order() -> None:
    found = merged(sources({"by_term": ["1"], "popular": ["2", "3"]}, {}), 3)
    assert found == [("1", "by_term"), ("2", "popular"), ("3", "popular")]


def test_a_stage_has_no_more_than_its_most_even_if_others_are_empty() -> None:
    lists = {"near": ["1"], "new": ["2", "3", "4"], "popular": ["5"]}
    found = merged(sources(lists, {"near": 1, "new": 1}, {"new": 2}), 9)
    assert found == [("1", "near"), ("2", "new"), ("3", "new"), ("5", "popular")]
    assert merged(sources(lists, {"new": 1}, {"new": 0}), 1) == [("1", "near")]


def test_a_stage_that_will_name_more_is_waited_for_at_its_turn() -> None:
    near, new = sources({"near": ["1"], "new": ["2", "3", "4"]}, {"near": 1, "new": 1})
    near.done = False
    assert [item for item, _ in in_turns([near, new], anything)] == ["1", "2"]
    near.ids.append("5")
    assert [item for item, _ in in_turns([near, new], anything)] == ["5", "3"]
    assert [item for item, _ in in_turns([near, new], anything, wait=False)] == ["4"]


def test_what_is_not_fresh_has_no_place() -> None:
    near, new = sources({"near": ["1", "2", "3"], "new": ["4"]}, {"near": 1, "new": 1}, {"near": 1})
    assert [item for item, _ in in_turns([near, new], lambda item: item != "1")] == ["2", "4"]
    assert (near.had, list(near.ids), supply(near)) == (1, ["3"], 0)


def test_lists_alternate_and_each_item_comes_once() -> None:
    assert alternating(["1", "2", "3"], [], ["4", "1"]) == ["1", "4", "2", "3"]
    assert alternating() == []


@given(listed, quotas, limits, st.integers(0, 50))
def test_items_are_distinct_from_their_stage_in_its_order_and_fill_the_list(
    lists: dict[str, list[str]], shares: dict[str, float], most: dict[str, int], k: int
) -> None:
    found = merged(sources(lists, shares, most), k)
    named = [item for item, _ in found]
    assert len(set(named)) == len(named) <= k
    if not most:
        assert len(named) == min(k, len(set(chain.from_iterable(lists.values()))))
    for stage in STAGES:
        own = [item for item, source in found if source == stage]
        assert own == [item for item in lists.get(stage, []) if item in own]
        assert len(own) <= most.get(stage, k)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(1, 20))
def test_no_stage_is_more_than_an_item_ahead_of_its_share(parts: list[int], k: int) -> None:
    lists = {f"s{place}": [f"{place}-{n}" for n in range(20)] for place in range(len(parts))}
    found = merged(sources(lists, dict(zip(lists, parts, strict=True))), k)
    for stage, part in zip(lists, parts, strict=True):
        had = sum(source == stage for _, source in found)
        assert had <= k * part / sum(parts) + 1
