from collections.abc import Mapping

import pytest

from model_store.retrieval.shares import SHARES, Share, Shares, places


def of(shares: Shares = SHARES, *, known: bool = True, embedded: bool = True) -> Mapping[str, Share]:
    return shares.of(50, known=known, embedded=embedded)


def test_item_models_have_what_the_others_leave() -> None:
    for embedded in (True, False):
        share = of(embedded=embedded)
        assert sum(one.quota for one in share.values()) == pytest.approx(1)
        assert share["item_models"].quota == max(one.quota for one in share.values())
    assert of(Shares(new=0.5, embedding=0.9))["item_models"] == Share(0)


def test_popular_items_of_genres_are_for_users_of_whom_item_models_know_nothing() -> None:
    assert of()["popular_genre"].quota == 0
    assert of(known=False)["popular_genre"] == Share(SHARES.genre, 3)


def test_new_items_have_half_their_places_where_vectors_find_some_too() -> None:
    assert of(embedded=False)["new"] == Share(0.1, 5)
    assert of()["new"] == Share(0.05, 3)


def test_places_are_rounded_up() -> None:
    assert [places(0.1, count) for count in (0, 1, 10, 11)] == [0, 1, 1, 2]
