import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.retrieval.pairs import ItemPairs, pairs

likes = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=7), max_size=8)


def named(found: ItemPairs) -> list[tuple[str, str]]:
    return [(found.items[a], found.items[b]) for a, b in zip(found.first, found.second, strict=True)]


def strengths(found: ItemPairs) -> dict[tuple[str, str], float]:
    return dict(zip(named(found), found.strength.tolist(), strict=True))


def brute(users: list[list[str]], window: int) -> dict[tuple[str, str], float]:
    total: dict[tuple[str, str], float] = {}
    for user in (list(dict.fromkeys(user)) for user in users):
        for place, item in enumerate(user):
            for other in user[place + 1 : place + 1 + window]:
                total[item, other] = total.get((item, other), 0.0) + 1 / len(user)
    return total


@given(likes, st.integers(1, 8))
def test_the_strength_is_the_sum_over_users_who_liked_one_after_the_other(users: list[list[str]], window: int) -> None:
    assert strengths(pairs(users, top=100, window=window)) == pytest.approx(brute(users, window))


@given(likes, st.integers(1, 3))
def test_the_strongest_partners_of_each_item_stay(users: list[list[str]], top: int) -> None:
    found, everything = strengths(pairs(users, top=top, window=8)), brute(users, 8)
    for item in {first for first, _ in everything}:
        own = sorted((s for (first, _), s in everything.items() if first == item), reverse=True)
        kept = sorted((s for (first, _), s in found.items() if first == item), reverse=True)
        assert kept == pytest.approx(own[:top])


@given(likes, st.integers(1, 5), st.integers(1, 20))
def test_counting_some_items_at_a_time_changes_nothing(users: list[list[str]], window: int, at_once: int) -> None:
    expected = pairs(users, top=3, window=window, discount=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_store.retrieval.pairs._PAIRS_AT_ONCE", at_once)
        found = pairs(users, top=3, window=window, discount=0.5)
    assert named(found) == named(expected)
    assert found.strength == pytest.approx(expected.strength)


@given(likes, st.integers(1, 8))
def test_the_discount_is_by_all_pairs_of_the_partner(users: list[list[str]], window: int) -> None:
    found = brute(users, window)
    met: dict[str, float] = {}
    for pair, strength in found.items():
        for item in pair:
            met[item] = met.get(item, 0.0) + strength
    expected = {(a, b): strength / met[b] ** 0.5 for (a, b), strength in found.items()}
    assert strengths(pairs(users, top=100, window=window, discount=0.5)) == pytest.approx(expected)


def test_partners_of_the_same_strength_come_in_the_order_of_their_ids() -> None:
    # 1/2 + 1/6 + 1/3 is 1, and in the other order a little less.
    def after(item: str, lengths: tuple[int, ...]) -> list[list[str]]:
        return [["a", item, *(f"{item}{count}.{n}" for n in range(count - 2))] for count in lengths]

    users = [*after("c", (2, 6, 3)), *after("b", (2, 3, 6))]
    assert named(pairs(users, top=2, window=1))[:2] == [("a", "b"), ("a", "c")]


def test_test_pairs_have_none_of_the_training_in_either_direction() -> None:
    train, test = pairs([["a", "b"]], top=5, window=5), pairs([["b", "a"], ["b", "c"]], top=5, window=5)
    assert named(test.without(train)) == [("b", "c")]


def test_a_discount_prefers_partners_that_are_met_by_fewer() -> None:
    likes = [["a", "popular"], ["a", "popular"], ["a", "rare"], *([f"x{n}", "popular"] for n in range(6))]
    assert [b for a, b in named(pairs(likes, top=1, window=5)) if a == "a"] == ["popular"]
    chosen = pairs(likes, top=1, window=5, discount=0.5)
    # "rare" occurs in one pair, "popular" in eight, each of strength 1/2.
    assert strengths(chosen)["a", "rare"] == pytest.approx(0.5 / 0.5**0.5)
    assert ("a", "popular") not in strengths(chosen)
