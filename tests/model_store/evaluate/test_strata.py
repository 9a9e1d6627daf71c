from model_store.evaluate.protocol import EvaluationCase
from model_store.evaluate.strata import strata


def case(target: str, events: int) -> EvaluationCase:
    return EvaluationCase(f"u-{target}-{events}", (), target, (target, "other"), events)


def test_every_case_is_in_one_stratum_of_each_kind() -> None:
    cases = [case(f"i{likes}", events) for likes in (0, 3, 5, 8, 20, 300) for events in (1, 6, 30, 400)]
    found = strata(cases, {f"i{likes}": likes for likes in (3, 5, 8, 20, 300)})
    for of in {stratum.of for stratum in found}:
        assert sum(stratum.cases.astype(int) for stratum in found if stratum.of == of).tolist() == [1] * len(cases)


def test_items_that_training_hardly_knows_and_users_with_few_events_are_new() -> None:
    cases = [case("unknown", 2), case("known", 5), case("known", 50)]
    by_name = {stratum.name: stratum.cases.tolist() for stratum in strata(cases, {"known": 40})}
    assert by_name["0 to 4 (new item)"] == [True, False, False]
    assert by_name["0 to 5 (new user)"] == [True, True, False]


def test_empty_strata_are_left_out() -> None:
    assert all(stratum.cases.any() for stratum in strata([case("i", 60)], {"i": 3}))
