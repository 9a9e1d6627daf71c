import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.data.dataset import read_dataset
from model_store.demo.truth import Stated, read_truth, stated
from model_store.demo.world import ATTRIBUTES, DRIFT_EVERY, EVENTS, THEMES, Taste, generate, make_items, simulate
from model_store.evaluate.compare import evaluate_scores
from model_store.evaluate.protocol import Protocol, make_cases

LIKES = {"colour": ("red", "blue"), "shape": ("star", "ring"), "genre": ("jazz", "folk"), "theme": ("sea", "city")}
DISLIKES = {"colour": ("green",), "shape": ("cross",), "genre": ("punk",), "theme": ("space",)}
TASTE = Taste(0, LIKES, DISLIKES)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    generate(folder, seed=5, items=300, users=400, picture_side=64)
    return folder


def test_the_same_seed_draws_the_same_world(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        generate(tmp_path / name, seed=seed, items=70, users=5, picture_side=32)
    contents = {
        folder: [path.read_bytes() for path in sorted((tmp_path / folder).rglob("*")) if path.is_file()]
        for folder in ("one", "same", "other")
    }
    assert contents["one"] == contents["same"] != contents["other"]


def test_the_words_do_not_name_what_only_the_picture_shows(world: Path) -> None:
    shown = {value for name in ("colour", "shape") for value in ATTRIBUTES[name]}
    for line in (world / "items.jsonl").read_text().splitlines():
        item = json.loads(line)
        words = f"{item['title']} {' '.join(item['genres'])}".lower().split()
        assert not shown & set(words)
        assert shown & set(item["caption"].lower().strip(".").split())


def test_a_smaller_catalogue_is_the_start_of_a_larger_one() -> None:
    assert make_items(200, seed=5) == make_items(300, seed=5)[:200]


def test_titles_name_the_theme_by_one_of_its_words() -> None:
    items = make_items(600, seed=5)
    assert len({item.title for item in items}) == 600
    for item in items:
        assert set(THEMES[item.attributes["theme"]]) & set(item.title.split())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_tastes_change_one_attribute_at_a_time(seed: int) -> None:
    for _, events, tastes in simulate(make_items(80, seed), 3, seed):
        assert EVENTS[0] <= len(events) <= EVENTS[1]
        for before, after in pairwise(tastes):
            low, high = DRIFT_EVERY
            assert low <= after.since - before.since <= high
            assert sum(before.likes[name] != after.likes[name] for name in ATTRIBUTES) == 1
            assert not any(set(after.likes[name]) & set(after.dislikes[name]) for name in ATTRIBUTES)


def test_the_oracle_knows_and_popularity_hardly(world: Path) -> None:
    dataset = read_dataset(world)
    cases = make_cases(dataset, Protocol(negatives="uniform", split=None))
    truth = read_truth(world, make_items(300, seed=5))
    liked = Counter(event.item_id for events in dataset.histories.values() for event in events if event.liked)
    popular = [[float(liked[candidate]) for candidate in case.candidates] for case in cases]
    table = evaluate_scores(cases, {"oracle": truth.oracle(dataset, cases), "popularity": popular})
    assert table.rows["oracle"].auc.mean > 0.93
    assert 0.5 < table.rows["popularity"].auc.mean < 0.7


def test_affinity_counts_likes_against_dislikes() -> None:
    assert TASTE.affinity({"colour": "red", "shape": "star", "genre": "jazz", "theme": "sea"}) == 4
    assert TASTE.affinity({"colour": "green", "shape": "square", "genre": "jazz", "theme": "space"}) == -1


def test_a_theme_is_stated_by_any_of_its_words() -> None:
    assert stated("Likes red, harbor, tide, opera.", TASTE) == Stated(precision=2 / 3, recall=2 / 8)
    assert stated("", TASTE) == Stated(0.0, 0.0)


def test_a_world_too_small_for_its_users_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need as many items"):
        generate(tmp_path, seed=1, items=10, users=1)
