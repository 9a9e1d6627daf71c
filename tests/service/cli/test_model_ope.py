"""`tastestream models ope` on logs whose truth is known."""

import json
import random
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Blend, Manifest
from model_store.registry.registry import Registry
from service.recommend.blend import Exploration, Scored, blended, typical
from service.recommend.exploration import shuffled
from service.settings import Settings
from tests.model_store.registry.checkpoints import checkpoint
from tests.service.cli.conftest import Run

LIKED = {"good": 0.6, "fair": 0.3, "poor": 0.1}
"""How often an item in the first place is liked."""
MLLM = {"good": 0.2, "fair": 0.5, "poor": 0.8}
"""The model has them the wrong way round."""
TEMPERATURE = 1.0


def row(user: str, rid: str, slot: int, item: str, chance: float, outcome: str | None, **more: Any) -> dict[str, Any]:
    features = {"score": 0.5, "mllm": MLLM.get(item), "collaborative": 0.0, "popular": 0.0}
    shown = {"recommendation_id": rid, "user_id": user, "model": "shop@1", "policy": "production", "slot": slot}
    rest = {"policy_propensity": 1.0, "item_id": item, "propensity": chance, "features": features, "outcome": outcome}
    return {**shown, **rest, "diversity": 0.0, "typical": {}, **more}


def features_of(item: Scored) -> dict[str, Any]:
    """As the log has them."""
    return {name: value for name, value in asdict(item).items() if name != "item_id"}


def write(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return str(file)


def explored(lists: int, temperature: float = TEMPERATURE) -> list[dict[str, Any]]:
    """Lists in the order of the model; only the first place earns."""
    rng, rows = random.Random(0), []
    for number in range(lists):
        scored = blended(LIKED, MLLM, {}, {}, {}, Blend())
        order, chances = shuffled(scored, temperature, rng)
        for slot, (item, chance) in enumerate(zip(order, chances, strict=True), start=1):
            liked = slot == 1 and rng.random() < LIKED[item.item_id]
            rows.append(row(f"u{number}", f"r{number}", slot, item.item_id, chance, "positive" if liked else None))
    return rows


def estimates(out: str) -> dict[str, list[float]]:
    found = {}
    for line in out.splitlines():
        if match := re.match(r"(\S.*?)\s{2,}(.*)", line.strip()):
            found[match[1]] = [float(one.replace(",", "")) for one in re.findall(r"[\d.,]*\d", match[2])]
    return found


def register(settings: Settings, weights: Path, blend: Blend) -> None:
    """Add `shop@1` with this blend."""
    manifest = Manifest(name="shop", version=1, role="ranker", blend=blend)
    Registry(settings.models_folder).add(manifest, BUILT_IN / "compact", checkpoint(weights))


@pytest.fixture
def reversing(settings: Settings, tmp_path: Path) -> None:
    """`shop@1`, whose blend turns the order of the model round."""
    register(settings, tmp_path / "weights", Blend(mllm=-1.0))


def test_another_blend_is_valued_at_what_it_would_have_earned(
    tastestream: Run, tmp_path: Path, reversing: None
) -> None:
    log = write(tmp_path / "log", explored(4000))
    ran = tastestream("models", "ope", log, "--blend", "shop@1", "--temperature", "1", "--places", "1")
    assert ran.code == 0, ran.err
    found = estimates(ran.out)
    odds = {item: (1 - score) / score for item, score in MLLM.items()}
    truth = sum(LIKED[item] * odds[item] for item in odds) / sum(odds.values())
    logged = sum(LIKED[item] / odds[item] for item in odds) / sum(1 / one for one in odds.values())
    rows, value, low, high, effective = found["blend of shop@1"]
    assert low < truth < high
    assert value == pytest.approx(truth, abs=0.06)
    assert found["shop@1, production"][1] == pytest.approx(logged, abs=0.03)
    assert truth > logged + 0.2
    assert effective < rows == 4000
    _, value, low, high, _ = found["blend of shop@1, first place, doubly robust"]
    assert low < truth < high
    assert value == pytest.approx(truth, abs=0.06)


def test_a_log_that_says_little_is_warned_of(tastestream: Run, tmp_path: Path, reversing: None) -> None:
    log = write(tmp_path / "log", explored(60))
    ran = tastestream("models", "ope", log, "--blend", "shop@1")
    assert "too few to conclude from" in ran.out


def test_a_log_without_exploration_says_nothing_about_another_order(
    tastestream: Run, tmp_path: Path, reversing: None
) -> None:
    log = write(tmp_path / "log", explored(10, 0.0))
    assert tastestream("models", "ope", log).code == 0
    ran = tastestream("models", "ope", log, "--blend", "shop@1")
    assert (ran.code, "EXPLORATION_TEMPERATURE" in ran.err) == (1, True)


def test_answers_that_say_nothing_about_another_blend_are_left_out(
    tastestream: Run, tmp_path: Path, reversing: None
) -> None:
    """Before exploration was switched on, only the model's order was shown, which a blend must not be valued at."""
    fixed = [one | {"recommendation_id": f"f{one['recommendation_id']}"} for one in explored(500, 0.0)]
    rows = explored(500)
    other = [one | {"recommendation_id": f"o{one['recommendation_id']}", "model": "shop@9"} for one in explored(300)]
    options = ("--blend", "shop@1", "--temperature", "1", "--places", "1")
    alone = tastestream("models", "ope", write(tmp_path / "alone", rows), *options)
    ran = tastestream("models", "ope", write(tmp_path / "log", [*fixed, *rows, *other]), *options)
    assert ran.code == 0, ran.err
    for name in ("blend of shop@1", "blend of shop@1, first place, doubly robust"):
        assert estimates(ran.out)[name] == estimates(alone.out)[name]
    assert "800 answers say nothing about another blend: 300 were not scored" in ran.out
    ran = tastestream("models", "ope", write(tmp_path / "log", other), *options)
    assert (ran.code, "answers of shop@9, and none with scores" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("diversity", "why"), [(0.3, "300 were made diverse, 0 don't"), (None, "0 were made diverse, 300 don't say")]
)
def test_answers_that_may_have_been_made_diverse_are_left_out(
    tastestream: Run, tmp_path: Path, reversing: None, diversity: float | None, why: str
) -> None:
    """Their order is not that of the scores, and how alike their items are is not in the log."""
    rows, options = explored(500), ("--blend", "shop@1", "--temperature", "1", "--places", "1")
    diverse = [
        one | {"recommendation_id": f"d{one['recommendation_id']}", "diversity": diversity} for one in explored(300)
    ]
    alone = tastestream("models", "ope", write(tmp_path / "alone", rows), *options)
    ran = tastestream("models", "ope", write(tmp_path / "log", [*rows, *diverse]), *options)
    assert ran.code == 0, ran.err
    for name in ("blend of shop@1", "blend of shop@1, first place, doubly robust"):
        assert estimates(ran.out)[name] == estimates(alone.out)[name]
    assert "300 answers say nothing about another blend" in ran.out
    assert why in ran.out
    assert estimates(ran.out)["shop@1, production"][0] == 800, "they count for what was shown"
    ran = tastestream("models", "ope", write(tmp_path / "log", diverse), *options)
    assert (ran.code, "only answers that were made diverse" in ran.err) == (1, True)


class TestItemsThatFewUsersMet:
    LIKES = {"known": 20.0, "less": 10.0, "new": 0.0}
    LIKED = {"known": 0.2, "less": 0.1, "new": 0.8}
    LOGGING = Blend(popular=0.7, popular_discount=0.1)
    OPTIONS = ("--blend", "shop@1", "--temperature", "1", "--places", "1")

    def ranked(self, blend: Blend, places: int = 1) -> list[Scored]:
        model = dict.fromkeys(self.LIKES, 0.5)
        return blended(self.LIKES, model, {}, self.LIKES, {}, blend, exploration=Exploration(places, 3))

    def earned(self, scored: list[Scored]) -> float:
        """What an order by these scores earns in the first place."""
        odds = {one.item_id: one.score / (1 - one.score) for one in scored}
        return sum(self.LIKED[item] * one for item, one in odds.items()) / sum(odds.values())

    def log(self, file: Path, lists: int) -> str:
        rng, rows, scored = random.Random(0), [], self.ranked(self.LOGGING)
        mean = typical(scored, 3)
        assert mean is not None
        for number in range(lists):
            order, chances = shuffled(scored, TEMPERATURE, rng)
            for slot, (item, chance) in enumerate(zip(order, chances, strict=True), start=1):
                liked = slot == 1 and rng.random() < self.LIKED[item.item_id]
                more = {"features": features_of(item), "typical": mean._asdict()}
                outcome = "positive" if liked else None
                rows.append(row(f"u{number}", f"r{number}", slot, item.item_id, chance, outcome, **more))
        return write(file, rows)

    def test_another_blend_raises_them_to_its_own_evidence(
        self, tastestream: Run, tmp_path: Path, settings: Settings
    ) -> None:
        other = Blend(popular=1.4, popular_discount=0.2)
        register(settings, tmp_path / "weights", other)
        ran = tastestream("models", "ope", self.log(tmp_path / "log", 4000), *self.OPTIONS)
        assert ran.code == 0, ran.err
        truth = self.earned(self.ranked(other))
        assert truth > self.earned(self.ranked(other, places=0)) + 0.15, "otherwise the test shows nothing"
        for name in ("blend of shop@1", "blend of shop@1, first place, doubly robust"):
            _, value, low, high, _ = estimates(ran.out)[name]
            assert low < truth < high, name
            assert value == pytest.approx(truth, abs=0.04)

    def test_the_blend_that_was_logged_is_valued_at_what_it_earned(
        self, tastestream: Run, tmp_path: Path, settings: Settings
    ) -> None:
        register(settings, tmp_path / "weights", self.LOGGING)
        ran = tastestream("models", "ope", self.log(tmp_path / "log", 500), *self.OPTIONS)
        found = estimates(ran.out)
        assert found["blend of shop@1"] == found["shop@1, production"]
        assert found["blend of shop@1"][4] == 500


def test_policies_are_weighted_by_the_share_of_their_time(tastestream: Run, tmp_path: Path) -> None:
    """A canary had 10 % of the users on a good day, and 50 % on a bad one: unweighted, it would look bad."""
    rng, rows = random.Random(0), []
    for number in range(8000):
        share, level = (0.1, 0.8) if number % 2 else (0.5, 0.2)
        canary = rng.random() < share
        outcome = "positive" if rng.random() < level else None
        policy = {"policy": "canary" if canary else "production", "policy_propensity": share if canary else 1 - share}
        rows.append(row(f"u{number}", f"r{number}", 1, "good", 1.0, outcome, **policy))
    found = estimates(tastestream("models", "ope", write(tmp_path / "log", rows)).out)
    for name in ("shop@1, canary", "shop@1, production"):
        _, value, low, high, _ = found[name]
        assert low < 0.5 < high, name
        assert value == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a row"),
        ("[]", "not a row"),
        ('{"recommendation_id": "r"}', "not a row"),
        (json.dumps(row("u", "r", 1, "good", 0.0, None)), "line 1: not a row of `recommendations export`: propensity"),
        (json.dumps(row("u", "r", 1, "good", 1.0, None, features={"mllm": "x"})), "features.mllm"),
        (json.dumps(row("u", "r", 1, "good", 1.0, None, user_id=3)), "user_id"),
        ('{"user_id": "\udcff"}', "not a row"),
        ("", "has no rows"),
    ],
)
def test_what_is_no_log_is_refused(tastestream: Run, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "log").write_bytes(line.encode(errors="surrogateescape"))
    ran = tastestream("models", "ope", str(tmp_path / "log"))
    assert (ran.code, message in ran.err) == (1, True), ran.err
