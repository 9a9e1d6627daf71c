"""Items that were shown to a user lately give way to others."""

import pytest

from service.recommend.blend import Factors
from service.recommend.rules import LEAST_ROTATION, odds
from service.state import rotation
from tests.redis_servers import admin_of, all_keys, on_both
from tests.service.conftest import Gateway
from tests.service.recommend.asking import KEYS, fill, ids, recommend
from tests.service.recommend.test_rules import ALL, rules
from tests.service.serving import ModelServer
from tests.workers.conftest import until

NAMES = ["tea", "pan", "hat"]


def test_each_answer_takes_half_of_what_the_next_one_took() -> None:
    found = odds(rules(), ALL, [("cup",), ("cup", "pan"), (), ("hat", "gone")], 0.5)
    assert found.factors == {
        "cup": Factors(rotation=pytest.approx(0.5**1.5)),
        "pan": Factors(rotation=pytest.approx(0.5**0.5)),
        "hat": Factors(rotation=pytest.approx(0.5**0.125)),
    }


def test_a_boost_and_the_rotation_go_together_and_nothing_loses_all_odds() -> None:
    found = odds(rules(boosts=[{"filter": "genres = 'kitchen'", "factor": 2}]), ALL, [("cup",)], 1.0)
    assert found.factors == {"cup": Factors(2.0, LEAST_ROTATION), "pan": Factors(2.0)}
    assert odds(rules(), ALL, [], 1.0).factors == {}


@on_both
async def test_what_was_shown_gives_way_in_the_next_answer(ranked: Gateway, model: ModelServer) -> None:
    await fill(ranked, *NAMES)
    model.scores = {"tea": 0.8, "pan": 0.75, "hat": 0.7}

    async def first() -> str:
        return ids(await recommend(ranked, k=1, rotation=0.9))[0]

    assert await first() == "tea"

    async def moved() -> bool:
        return await first() == "pan"

    # It is remembered after the answer was sent.
    await until(moved)
    plain = await recommend(ranked, k=1)
    assert ids(plain) == ["tea"]
    explained = await recommend(ranked, rotation=0.9, explain=True)
    factors = {item["item_id"]: item["components"]["rotation"] for item in explained["items"]}
    assert factors["pan"] < 1


@on_both
async def test_only_the_last_answers_are_remembered_and_nothing_of_a_deleted_user(ranked: Gateway) -> None:
    log = ranked.store.rotation
    for number in range(rotation.REMEMBERED + 3):
        assert await log.add("u", [f"i{number}"] * (rotation.MOST_ITEMS + 5), 2**50)
    wave = ranked.store.wave()
    answer = wave.add(log.reading("u"))
    await wave.send()
    assert len(answer.value()) == rotation.REMEMBERED
    assert answer.value()[0] == (f"i{rotation.REMEMBERED + 2}",) * rotation.MOST_ITEMS
    with admin_of(ranked.settings.redis_url or "") as admin:
        assert admin.llen(KEYS.user("u").rotation) == rotation.REMEMBERED
    assert (await ranked.ask("DELETE", "/users/u")).status_code == 204
    with admin_of(ranked.settings.redis_url or "") as admin:
        assert KEYS.user("u").rotation.encode() not in all_keys(admin)
    assert not await log.add("u", ["late"], 1)


@pytest.mark.parametrize("given", [-1, 1.5, "all"])
async def test_what_is_no_share_is_refused(gateway: Gateway, given: object) -> None:
    answer = await gateway.ask("POST", "/recommend", {"user_id": "u", "rotation": given})
    assert (answer.status_code, "rotation" in answer.text) == (422, True)
