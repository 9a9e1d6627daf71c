import pytest

from model_store.data.dataset import Dataset
from model_store.evaluate import blend_cases
from model_store.evaluate.blend_cases import KINDS, NEGATIVES, make_boards, mixed_cases
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import liked_by
from model_store.evaluate.served import near
from model_store.item_models.item_models import ItemModels
from tests.model_store.evaluate.worlds import catalogue, like, world

WORLD = world(users=600)
COUNTS = Likes(liked_by(WORLD, "train")).cooccurrence()


def test_each_case_has_negatives_of_each_kind_that_the_user_never_met() -> None:
    cases = mixed_cases(WORLD, COUNTS, 0)
    assert cases
    for mixed in cases:
        met = {event.item_id for event in WORLD.histories[mixed.case.user_id]}
        shown = {mixed.case.target}
        for kind in KINDS:
            own = mixed.negatives[kind]
            assert len(set(own)) == len(own) <= NEGATIVES
            assert not met & set(own)
            shown |= set(own)
        assert set(mixed.case.candidates) == shown
        assert mixed.case.target not in {event.item_id for event in mixed.case.history}


def test_a_case_has_retrieved_negatives_only_if_its_target_would_have_been_retrieved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blend_cases, "RETRIEVED", 8)
    found = []
    for mixed in mixed_cases(WORLD, COUNTS, 0):
        met = {event.item_id for event in WORLD.histories[mixed.case.user_id]} - {mixed.case.target}
        retrieved = COUNTS.retrieve(near(mixed.case.history), met, 8)
        found.append(mixed.case.target in retrieved)
        assert set(mixed.negatives["retrieved"]) == (set(retrieved) - {mixed.case.target} if found[-1] else set())
    assert set(found) == {False, True}


def test_a_target_is_new_to_the_user() -> None:
    """A shop's users view an item before they like it: with the item in the history, any feature tells the target."""
    viewed = {
        user: tuple(
            seen
            for n, event in enumerate(history)
            for seen in ((like(event.item_id, n, kind="view"), event) if n % 2 else (event,))
        )
        for user, history in WORLD.histories.items()
    }
    cases = mixed_cases(Dataset(WORLD.items, viewed), COUNTS, 0)
    assert cases
    for mixed in cases:
        assert mixed.case.target not in {event.item_id for event in mixed.case.history}


def test_candidates_are_of_the_catalogue_even_if_the_counts_know_others() -> None:
    """A version may be refitted on data that lacks items which it was trained on."""
    smaller = Dataset({item_id: item for item_id, item in WORLD.items.items() if int(item_id[1:]) % 4}, WORLD.histories)
    cases = mixed_cases(smaller, COUNTS, 0)
    assert {kind for mixed in cases for kind in KINDS if mixed.negatives[kind]} == set(KINDS)
    assert {item for mixed in cases for item in mixed.case.candidates} <= smaller.items.keys()


def test_the_same_seed_draws_the_same_cases_and_another_does_not() -> None:
    assert mixed_cases(WORLD, COUNTS, 0) == mixed_cases(WORLD, COUNTS, 0)
    assert mixed_cases(WORLD, COUNTS, 0) != mixed_cases(WORLD, COUNTS, 1)


def test_only_recent_items_that_were_not_disliked_are_near() -> None:
    events = [
        like("old"),
        *(like(f"i{n}") for n in range(17)),
        like("i3"),
        like("bad", kind="dislike"),
        like("seen", kind="view"),
    ]
    assert near(events) == [*(f"i{n}" for n in range(17)), "seen"]


def test_boards_hold_the_features_of_the_target_and_of_their_own_negatives() -> None:
    cases = mixed_cases(WORLD, COUNTS, 0)
    scores = [[float(item == mixed.case.target) for item in mixed.case.candidates] for mixed in cases]
    boards = make_boards(cases, COUNTS, ItemModels(), scores)
    for kind, board in boards.items():
        own = [mixed for mixed in cases if mixed.negatives[kind]]
        assert board.present.sum(axis=1).tolist() == [1 + len(mixed.negatives[kind]) for mixed in own]
        assert board.features[:, 0, 0].tolist() == [1.0] * len(own)
        assert not board.features[:, 1:, 0].any()


def test_data_without_items_to_draw_from_has_no_cases() -> None:
    alone = {f"u{n}": (like("i0", 0), like("i1", 1)) for n in range(60)}
    dataset = Dataset(catalogue(2), alone)
    counts = Likes(liked_by(dataset, "train")).cooccurrence()
    assert mixed_cases(dataset, counts, 0) == []
    assert mixed_cases(Dataset({}, {}), Likes([]).cooccurrence(), 0) == []
    assert make_boards([], counts, ItemModels(), []) == {}
