"""Item weights: what a score is, what a file keeps, and what is refused."""

import json
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from model_store.evaluate.ease import Ease
from model_store.evaluate.item_weights import learn_item_weights
from model_store.evaluate.likes import Likes
from model_store.item_models import item_model
from model_store.item_models.item_model import ItemModelError
from model_store.item_models.item_weights import ItemWeights

ITEMS = [f"i{n}" for n in range(8)]
USERS = st.lists(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=8), min_size=1, max_size=12)
SOME = ItemWeights(("a", "b", "ü\n"), array("I", [0, 2, 2, 3]), array("I", [1, 2, 0]), array("f", [0.5, -0.25, 2.0]))


def test_a_score_sums_the_weights_of_the_distinct_recents() -> None:
    assert SOME.score(["b", "ü\n", "b", "unknown"], ["a", "b", "ü\n", "unknown"]) == [0.25, 0, 0, 0]
    assert SOME.score(["a"], ["ü\n", "a"]) == [2, 0]
    assert SOME.score([], ["a"]) == ItemWeights().score(["b"], ["a"]) == [0]


@settings(max_examples=50, deadline=None)
@given(USERS, st.lists(st.sampled_from(ITEMS)), st.lists(st.sampled_from(ITEMS)))
def test_all_weights_kept_give_the_scores_of_ease(
    users: list[list[str]], recents: list[str], candidates: list[str]
) -> None:
    """But for those of recents themselves, whose ties EASE breaks by popularity."""
    likes = Likes(users)
    found = learn_item_weights(likes, ridge=1).score(recents, candidates)
    assert found == pytest.approx(Ease(likes, ridge=1).score(recents, candidates), abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(USERS, st.lists(st.sampled_from([*ITEMS, "unknown"])))
def test_all_items_have_the_scores_of_candidates(users: list[list[str]], recents: list[str]) -> None:
    for model in (learn_item_weights(Likes(users), ridge=1), SOME, ItemWeights()):
        assert model.score_all(recents).tolist() == pytest.approx(model.score(recents, model.items), abs=1e-6)


def test_each_item_keeps_its_largest_weights() -> None:
    likes = Likes([ITEMS[n % 5 : n % 5 + 2 + n % 3] for n in range(40)])
    every, some = (learn_item_weights(likes, ridge=1, per_item=count) for count in (100, 2))
    for candidate in likes.items:
        alone = {recent: every.score([recent], [candidate])[0] for recent in likes.items}
        kept = {recent: weight for recent in alone if (weight := some.score([recent], [candidate])[0])}
        assert len(kept) <= 2
        assert kept.items() <= alone.items()


@settings(max_examples=50, deadline=None)
@given(USERS, st.integers(0, 10))
def test_a_file_keeps_everything(users: list[list[str]], per_item: int) -> None:
    made = learn_item_weights(Likes(users), ridge=1, per_item=per_item)
    for one in (made, SOME, ItemWeights()):
        read = ItemWeights.parse(one.dump(), "here")
        assert (list(read.items), read.starts, read.others, read.weights) == (
            list(one.items),
            one.starts,
            one.others,
            one.weights,
        )


def test_the_format_is_safetensors(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(SOME.dump())
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()["items"]) == list(SOME.items)
        assert file.get_tensor("weights").tolist() == SOME.weights.tolist()
        assert file.get_tensor("others").tolist() == SOME.others.tolist()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (replace(SOME, items=("a", "b", "a")), "an item twice"),
        (replace(SOME, items=("a", "b")), "a row for each item"),
        (replace(SOME, starts=array("I", [0, 3, 2, 3])), "must ascend"),
        (replace(SOME, starts=array("I", [0, 2, 2, 2])), "a row for each item"),
        (replace(SOME, others=array("I", [1, 3, 0])), "does not have"),
        (replace(SOME, others=array("I", [2, 1, 0])), "ascend within a row"),
        (replace(SOME, weights=array("f", [0.5, float("nan"), 1])), "finite"),
        (replace(SOME, weights=array("f", [0.5])), "as many"),
    ],
)
def test_rows_that_make_no_sense_are_refused(broken: ItemWeights, reason: str) -> None:
    with pytest.raises(ItemModelError, match=f"^here: .*{reason}"):
        ItemWeights.parse(broken.dump(), "here")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content.replace(b'"F32"', b'"F16"'),
        lambda content: content.replace(b'"shape":[4]', b'"shape":[9]'),
        lambda content: content.replace(b'"shape":[4]', b'"shape":"x"'),
        lambda content: content.replace(b"others", b"athers"),
        lambda content: content.replace(b'"[\\"a', b'"[a\\"'),
        lambda content: content.replace(b"{", b"[", 1),
    ],
)
def test_other_files_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    spoiled = spoil(SOME.dump())
    assert spoiled != SOME.dump()
    with pytest.raises(ItemModelError, match="here is no file of item weights"):
        ItemWeights.parse(spoiled, "here")


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_do_harm(noise: bytes, place: int) -> None:
    content = SOME.dump()
    for spoiled in (noise, content[:place] + noise + content[place:]):
        with suppress(ItemModelError):
            ItemWeights.parse(spoiled, "here").score(["a", "b"], ["a", "b"])


def test_a_huge_file_is_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    content = SOME.dump()
    monkeypatch.setattr(item_model, "MAX_BYTES", len(content) - 1)
    with pytest.raises(ItemModelError, match="keep fewer items"):
        SOME.dump()
    with pytest.raises(ItemModelError, match="more than"):
        ItemWeights.parse(content, "here")


def test_a_large_shop_fits() -> None:
    items, per_item = 20_000, 100
    starts = array("I", range(0, items * per_item + 1, per_item))
    others = array("I", [*range(per_item)]) * items
    found = ItemWeights(tuple(map(str, range(items))), starts, others, array("f", [0.01]) * (items * per_item))
    assert len(ItemWeights.parse(found.dump(), "here").items) == items
