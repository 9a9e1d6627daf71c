"""Places of users, shares, and the correlation of two orders."""

import math

import pytest

from service.recommend.rollout import Lineup, place
from service.recommend.shadow import spearman
from tests.service.recommend.rollout.asking import USERS


class TestArithmetic:
    def test_places_are_uniform_and_differ_between_versions(self) -> None:
        places = sorted(place(user, "a@1") for user in USERS)
        assert max(abs(one - rank / len(USERS)) for rank, one in enumerate(places)) < 1.63 / math.sqrt(len(USERS))
        both = sum(place(user, "a@1") < 0.5 and place(user, "a@2") < 0.5 for user in USERS)
        assert abs(both - len(USERS) / 4) < 4 * math.sqrt(len(USERS) * 3 / 16)

    def test_shares_nought_and_one(self) -> None:
        for user in USERS:
            assert Lineup(canary_id="a@2", share=0.0).choose(user).policy == "production"
            assert Lineup(canary_id="a@2", share=1.0).choose(user).policy == "canary"

    def test_spearman_of_known_orders(self) -> None:
        assert spearman("abcd", "abcd") == 1
        assert spearman("abcd", "dcba") == -1
        assert spearman("abcd", "bacd") == pytest.approx(0.8)
        assert spearman("a", "a") is None
