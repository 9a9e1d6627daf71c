from collections.abc import Sequence

import pytest

from model_store.data.dataset import Dataset, user_split
from model_store.evaluate.protocol import ProtocolError
from model_store.evaluate.retrieval.cases import RetrievalCases, RetrievalProtocol, make_retrieval_cases
from model_store.retrieval.cold import is_cold
from tests.model_store.evaluate.worlds import catalogue, like, world

TESTER = next(f"t{n}" for n in range(1000) if user_split(f"t{n}") == "test")
ITEMS = catalogue(60)
HIDDEN = [item for item in ITEMS if is_cold(item, 0, 0.1)]
SHOWN = [item for item in ITEMS if item not in HIDDEN]
(H1, H2, *_), (A, B, C, D, *_) = HIDDEN, SHOWN


def cases(*events, **options) -> RetrievalCases:
    return make_retrieval_cases(Dataset(ITEMS, {TESTER: events}), RetrievalProtocol(**options))


def ids(events: Sequence) -> list[str]:
    return [event.item_id for event in events]


def test_nothing_that_learns_or_is_asked_sees_a_hidden_item() -> None:
    drawn = make_retrieval_cases(world(), RetrievalProtocol(cold_share=0.2))
    assert drawn.hidden
    assert drawn.warm
    assert drawn.cold
    learned = {event.item_id for events in drawn.visible.histories.values() for event in events}
    assert not learned & drawn.hidden
    for case in (*drawn.warm, *drawn.cold):
        assert user_split(case.user_id) == "test"
        assert not set(ids(case.history)) & drawn.hidden
        assert case.target not in case.seen
    assert not {case.target for case in drawn.warm} & drawn.hidden
    assert {case.target for case in drawn.cold} <= drawn.hidden


def test_the_last_liked_item_of_each_kind_is_asked_after_what_came_before_it() -> None:
    drawn = cases(like(A), like(H1), like(B), like(H2), like(C), like(D, kind="dislike"))
    (warm,), (cold,) = drawn.warm, drawn.cold
    assert (warm.target, ids(warm.history), warm.seen) == (C, [A, B], {A, H1, B, H2})
    assert (cold.target, ids(cold.history), cold.seen) == (H2, [A, B], {A, H1, B})


def test_the_history_keeps_the_last_events_and_all_of_them_are_seen() -> None:
    (case,) = cases(*(like(item) for item in SHOWN[:20]), history=5).warm
    assert ids(case.history) == SHOWN[14:19]
    assert case.seen == set(SHOWN[:19])


def test_a_hidden_item_without_a_visible_event_before_it_is_not_asked() -> None:
    assert cases(like(H1), like(H2), like(A), like(B)).cold == []


def test_disliked_items_are_no_input_of_collaborative_methods() -> None:
    (case,) = cases(like(A), like(B, kind="dislike"), like(C)).warm
    assert case.recents == (A,)


def test_users_are_limited_to_the_first_of_an_order_that_the_seed_draws() -> None:
    def asked(**options) -> list[str]:
        return [case.user_id for case in make_retrieval_cases(world(400), RetrievalProtocol(**options)).warm]

    assert asked(users=5) == asked()[:5]
    assert asked(users=5, seed=1) != asked(users=5)


def test_data_without_a_case_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no user of the test set"):
        cases(like(A))
