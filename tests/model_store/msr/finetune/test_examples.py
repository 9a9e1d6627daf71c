"""Training pairs: balanced, shuffled, seeded, and only of training users' past."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from model_store.data.dataset import Dataset, read_dataset, user_split
from model_store.msr.finetune import FinetuneError
from model_store.msr.finetune.examples import draw_pairs, liked_moments
from tests.model_store.msr.finetune.conftest import OPTIONS


@pytest.fixture(scope="module")
def dataset(shop: Path) -> Dataset:
    return read_dataset(shop)


def test_each_positive_has_its_negatives(dataset: Dataset) -> None:
    for negatives in (1, 3):
        pairs = draw_pairs(dataset, replace(OPTIONS, negatives=negatives))
        labels = Counter(pair.liked for pair in pairs)
        assert labels[False] == negatives * labels[True] > 0


def test_the_order_says_nothing_about_the_label(dataset: Dataset) -> None:
    labels = [pair.liked for pair in draw_pairs(dataset, OPTIONS)]
    after_positive = Counter(second for first, second in pairwise(labels) if first)
    assert 0.4 < after_positive[True] / after_positive.total() < 0.6
    assert 0.4 < sum(labels[: len(labels) // 2]) / (len(labels) // 2) < 0.6


def test_negatives_were_never_met_and_positives_are_new_to_the_user(dataset: Dataset) -> None:
    for pair in draw_pairs(dataset, OPTIONS):
        history = [event.item_id for event in dataset.histories[pair.user_id]]
        if pair.liked:
            assert history.index(pair.item_id) == pair.events > 0
        else:
            assert pair.item_id not in history


def test_no_user_outside_the_train_split_is_learned_from(dataset: Dataset) -> None:
    assert {user_split(pair.user_id) for pair in draw_pairs(dataset, OPTIONS)} == {"train"}


def test_the_same_seed_draws_the_same(dataset: Dataset) -> None:
    assert draw_pairs(dataset, OPTIONS) == draw_pairs(dataset, OPTIONS)
    assert draw_pairs(dataset, OPTIONS) != draw_pairs(dataset, replace(OPTIONS, seed=1))


def test_the_latest_likes_are_used(dataset: Dataset) -> None:
    pairs = draw_pairs(dataset, replace(OPTIONS, positives_per_user=2))
    for user, drawn in Counter(pair.user_id for pair in pairs if pair.liked).items():
        moments = liked_moments(dataset, user)
        assert drawn == min(2, len(moments))
        assert {pair.events for pair in pairs if pair.user_id == user} == {moment[0] for moment in moments[-2:]}


def test_negatives_by_popularity_are_liked_ones(dataset: Dataset) -> None:
    liked = Counter(
        event.item_id for user in dataset.users("train") for event in dataset.histories[user] if event.liked
    )
    means = {}
    for share in (0.0, 1.0):
        drawn = [pair for pair in draw_pairs(dataset, replace(OPTIONS, popular_negatives=share)) if not pair.liked]
        means[share] = sum(liked[pair.item_id] for pair in drawn) / len(drawn)
    assert means[1.0] > means[0.0]


def test_one_user_is_refused(dataset: Dataset) -> None:
    (user, *_) = dataset.users("train")
    with pytest.raises(FinetuneError, match="of 1 users, 1 of the train split"):
        draw_pairs(Dataset(dataset.items, {user: dataset.histories[user]}), OPTIONS)
