from collections import Counter

import pytest

from model_store.data.dataset import Dataset, user_split
from model_store.evaluate.protocol import (
    EvaluationCase,
    Protocol,
    ProtocolError,
    known_before,
    liked_by,
    make_cases,
    split_time,
)
from tests.model_store.evaluate.worlds import catalogue, like, world

EVERYONE = Protocol(split=None)


def only(*events, items: int = 40, **options) -> EvaluationCase:
    uniform = Protocol("uniform", split=None, **options)
    return make_cases(Dataset(catalogue(items), {"u": tuple(events)}), uniform)[0]


def test_only_test_users_are_asked_by_default() -> None:
    dataset = world()
    asked = {case.user_id for case in make_cases(dataset, Protocol())}
    assert asked == {user for user in dataset.histories if user_split(user) == "test"}
    assert {user_split(case.user_id) for case in make_cases(dataset, Protocol(split="validation"))} == {"validation"}
    assert len(make_cases(dataset, EVERYONE)) == len(dataset.histories)


def test_the_target_is_the_last_liked_item_and_the_history_ends_before_it() -> None:
    case = only(like("i1"), like("i2"), like("i3"), like("i4", kind="dislike"), like("i5", kind="view"))
    assert case.target == "i3"
    assert [event.item_id for event in case.history] == ["i1", "i2"]


def test_a_target_is_new_to_the_user_and_in_the_catalogue() -> None:
    assert only(like("i1"), like("i2"), like("i1"), like("gone")).target == "i2"


def test_the_history_keeps_the_last_events() -> None:
    case = only(*(like(f"i{n}") for n in range(20)), history=5)
    assert [event.item_id for event in case.history] == ["i14", "i15", "i16", "i17", "i18"]


def test_disliked_items_are_no_evidence() -> None:
    case = only(like("i1", kind="dislike"), like("i2", kind="view"), like("i3"))
    assert case.recents == ("i2",)


@pytest.mark.parametrize("negatives", ["uniform", "popular"])
def test_negatives_are_distinct_items_that_the_user_never_met(negatives) -> None:
    dataset = world()
    for case in make_cases(dataset, Protocol(negatives, split=None)):
        met = {event.item_id for event in dataset.histories[case.user_id]}
        drawn = set(case.candidates) - {case.target}
        assert len(case.candidates) == 21
        assert len(drawn) == 20
        assert not drawn & met


def test_a_case_does_not_depend_on_who_else_is_asked() -> None:
    dataset = world()
    everyone = {case.user_id: case for case in make_cases(dataset, EVERYONE)}
    few = make_cases(dataset, Protocol(split=None, users=10))
    more = make_cases(dataset, Protocol(split=None, users=30))
    assert few == more[:10]
    assert all(everyone[case.user_id] == case for case in more)


@pytest.mark.parametrize("negatives", ["uniform", "popular"])
def test_a_case_does_not_depend_on_other_test_users_being_there(negatives) -> None:
    dataset = world()
    everyone = make_cases(dataset, Protocol(negatives))
    gone = {case.user_id for case in everyone[::2]}
    rest = {user: events for user, events in dataset.histories.items() if user not in gone}
    assert make_cases(Dataset(dataset.items, rest), Protocol(negatives)) == everyone[1::2]


def test_another_seed_asks_another_question() -> None:
    dataset = world()
    first = {case.user_id: case for case in make_cases(dataset, EVERYONE)}
    second = {case.user_id: case for case in make_cases(dataset, Protocol(split=None, seed=1))}
    assert first != second
    assert all(first[user].target == second[user].target for user in first)


def test_the_position_of_the_target_says_nothing() -> None:
    places = Counter(case.target_position for case in make_cases(world(users=1000), EVERYONE))
    assert len(places) == 21
    assert max(places.values()) < 90


def test_popular_negatives_follow_what_train_users_met() -> None:
    """Each item is met one time more than the one before; over many users the draws follow."""
    train = [f"t{n}" for n in range(3000) if user_split(f"t{n}") == "train"][:200]
    histories = {user: tuple(like(f"i{n}", kind="view") for n in range(place, 200)) for place, user in enumerate(train)}
    histories |= {f"a{n}": (like("x"), like("i0")) for n in range(300)}
    dataset = Dataset(catalogue(200), histories)
    cases = [case for case in make_cases(dataset, Protocol(split=None)) if case.user_id.startswith("a")]
    drawn = Counter(item for case in cases for item in case.candidates if item != case.target)
    rarely, often = (sum(drawn[f"i{n}"] for n in places) for places in (range(1, 67), range(134, 200)))
    assert 3 < often / rarely < 6


def test_a_user_who_met_nearly_everything_is_left_out() -> None:
    collector = tuple(like(f"i{n}") for n in range(20))
    dataset = Dataset(catalogue(39), {"collector": collector, "u": (like("i1"), like("i2"))})
    assert [case.user_id for case in make_cases(dataset, Protocol("uniform", split=None))] == ["u"]


def test_data_without_a_case_is_rejected() -> None:
    with pytest.raises(ProtocolError, match="no user of the test set has a liked item after a first event and 20"):
        make_cases(Dataset(catalogue(40), {"u": (like("i1"),)}), Protocol())


def test_liked_items_are_counted_once_a_user() -> None:
    user = next(f"u{n}" for n in range(100) if user_split(f"u{n}") == "train")
    events = (like("i1"), like("i2", kind="view"), like("i1"), like("i3"))
    assert list(liked_by(Dataset(catalogue(5), {user: events}), "train")) == [["i1", "i3"]]


class TestTimeSplit:
    PROTOCOL = Protocol("popular", split=None, n_negatives=5, time_split=0.5)

    def test_targets_come_after_the_moment_and_nothing_later_is_learned(self) -> None:
        dataset = world()
        moment = split_time(dataset, self.PROTOCOL)
        cases = make_cases(dataset, self.PROTOCOL)
        for case in cases:
            (target,) = (event for event in dataset.histories[case.user_id] if event.item_id == case.target)
            assert target.timestamp >= moment
        known = known_before(dataset, moment)
        assert all(event.timestamp < moment for events in known.histories.values() for event in events)
        assert sum(map(len, known.histories.values())) > 0

    def test_negatives_are_drawn_by_earlier_popularity(self) -> None:
        histories = {f"u{n}": (like("i1", 1), like("i2", 2), like(f"i{n % 5 + 3}", 9)) for n in range(200)}
        histories |= {"late": (like("i20", 1), like("i21", 9))}
        dataset = Dataset(catalogue(30), histories)
        protocol = Protocol("popular", split=None, n_negatives=2, time_split=0.7)
        case = {case.user_id: case for case in make_cases(dataset, protocol)}["late"]
        assert set(case.candidates) == {"i21", "i1", "i2"}

    def test_who_liked_nothing_since_is_left_out(self) -> None:
        histories = {"early": (like("i1", 1), like("i2", 2)), "late": (like("i3", 1), like("i4", 9), like("i5", 10))}
        protocol = Protocol("uniform", split=None, n_negatives=2, time_split=0.6)
        assert [case.user_id for case in make_cases(Dataset(catalogue(30), histories), protocol)] == ["late"]

    def test_without_a_split_everything_is_known(self) -> None:
        dataset = world(20)
        assert known_before(dataset, split_time(dataset, EVERYONE)) is dataset
