import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.cooccurrence import Cooccurrence, CooccurrenceError, read_cooccurrence, write_cooccurrence
from model_store.evaluate.likes import Likes

item = st.sampled_from("abcdefgh")
tastes = st.lists(st.lists(item, max_size=6, unique=True), max_size=12)


def brute(liked: list[list[str]], one: str, other: str) -> int:
    return sum(one in user and other in user for user in liked)


@given(tastes)
def test_counts_say_how_many_users_liked_an_item_and_both_items(liked: list[list[str]]) -> None:
    cooccurrence = Likes(liked).cooccurrence()
    liked_items = {item for user in liked for item in user}
    assert set(cooccurrence.counts) == liked_items
    for one in liked_items:
        assert cooccurrence.counts[one] == brute(liked, one, one)
        expected = {other: brute(liked, one, other) for other in liked_items - {one} if brute(liked, one, other)}
        assert cooccurrence.together[one] == expected


@given(tastes, st.lists(item, max_size=5), st.lists(item, max_size=5))
def test_collaborative_is_the_summed_cosine(liked: list[list[str]], recents: list[str], candidates: list[str]) -> None:
    cooccurrence = Likes(liked).cooccurrence()

    def cosine(one: str, other: str) -> float:
        both = brute(liked, one, other) if one != other else 0
        return both / math.sqrt(brute(liked, one, one) * brute(liked, other, other)) if both else 0.0

    expected = [sum(cosine(recent, candidate) for recent in set(recents)) for candidate in candidates]
    assert cooccurrence.collaborative(recents, candidates) == pytest.approx(expected)


@given(tastes, st.integers(1, 3))
def test_pruning_keeps_at_most_so_many_neighbours_and_their_true_counts(liked: list[list[str]], kept: int) -> None:
    full, pruned = Likes(liked).cooccurrence(), Likes(liked).cooccurrence(kept)
    assert pruned.counts == full.counts
    for one, neighbours in pruned.together.items():
        assert len(neighbours) == min(kept, len(full.together[one]))
        assert neighbours.items() <= full.together[one].items()


def test_pruning_drops_what_everyone_likes_before_what_belongs_together() -> None:
    liked = [["a", "rare", "hit"]] * 3 + [["a", "hit"]] + [["hit"]] * 60
    assert list(Likes(liked).cooccurrence(1).together["a"]) == ["rare"]


def test_unknown_items_are_worth_nothing() -> None:
    cooccurrence = Cooccurrence({"a": 2}, {"a": {}})
    assert cooccurrence.collaborative(["x"], ["a", "y"]) == [0, 0]


@given(tastes=tastes)
def test_a_file_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, tastes: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("cooccurrence") / "cooccurrence.jsonl"
    cooccurrence = Likes(tastes).cooccurrence()
    write_cooccurrence(cooccurrence, path)
    assert read_cooccurrence(path) == cooccurrence
    assert sorted(read_cooccurrence(path).pairs()) == sorted(cooccurrence.pairs())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2: JSONDecodeError"),
        ('{"item_id":"b","n":1}', "line 2: KeyError: 'with'"),
        ('{"item_id":"b","n":0,"with":{}}', "line 2: counts start at 1"),
        ('{"item_id":"b","n":1,"with":{"c":1}}', "c, a neighbour of b, has no line"),
        ('{"item_id":"b","n":1,"with":[1]}', "line 2: AttributeError"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "cooccurrence.jsonl"
    path.write_text('{"item_id":"a","n":1,"with":{}}\n' + line + "\n")
    with pytest.raises(CooccurrenceError, match=reason):
        read_cooccurrence(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CooccurrenceError, match="no co-occurrence file at"):
        read_cooccurrence(tmp_path / "none")


def test_neighbours_are_retrieved_first_and_then_what_most_users_like() -> None:
    counts = Likes([["a", "b"], ["a", "b"], ["a", "c"], ["d"], ["d"], ["d"], ["d"], ["e"]]).cooccurrence()
    assert counts.retrieve(["a"], {"c"}, 10) == ["b", "d", "e"]
    assert counts.retrieve(["a"], (), 2) == ["b", "c"]
    assert counts.retrieve([], (), 2) == ["d", "a"]
    assert counts.retrieve(["unknown"], (), 1) == ["d"]
