"""While the event loop is late, the least important requests are refused, and never those that would be missed."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.pressure import ORDER, Pressure
from service.metrics import Metrics
from service.recommend.deadline import Deadline
from service.settings.limits import LimitSettings
from tests.service.conftest import OpenGateway
from tests.service.serving import until

MOST_S = 0.1
METRICS = Metrics()


def pressure(lags: Sequence[float] = ()) -> Pressure:
    new = Pressure(MOST_S, METRICS)
    for lag_s in lags:
        new.update(lag_s)
    return new


def share(of: Pressure, name: str) -> float:
    return sum(of.sheds(name) for _ in range(1000)) / 1000


def test_without_overload_nothing_is_shed() -> None:
    calm = pressure([MOST_S] * 100)
    assert {name: share(calm, name) for name in ORDER} == dict.fromkeys(ORDER, 0)


def test_one_long_step_is_no_overload() -> None:
    assert pressure([0.0, 0.0, 9.0, 0.0, 9.0, 9.0, 0.0]).level == 0


def test_items_and_reads_are_shed_before_recommendations() -> None:
    some = pressure([1.0] * 5)
    assert 0 < share(some, "items") < 1
    assert share(some, "items") == pytest.approx(share(some, "reads"), abs=0.01)
    assert share(some, "recommend") == 0
    more = pressure([1.0] * 9)
    assert share(more, "items") > 0.99
    assert 0 < share(more, "recommend") < 1


@pytest.mark.parametrize("name", ["events", "event_streams", "deletes", "operations"])
def test_events_deletions_and_probes_are_never_shed(name: str) -> None:
    assert share(pressure([9.0] * 100), name) == 0


def test_ranking_ends_earlier_by_the_lag_which_the_response_waits_for_as_well() -> None:
    late = pressure([0.3] * 3)
    now = time.monotonic()
    usual, earlier = Deadline(now, 60.0), Deadline(now, 60.0, lag_s=late.lag_s)
    assert usual.for_ranking_s() - earlier.for_ranking_s() == pytest.approx(0.3, abs=0.05)
    assert Deadline(now, 60.0, lag_s=90.0).for_ranking_s() > 40, "never more than a quarter of the deadline"


def test_it_ends_with_the_overload() -> None:
    over = pressure([1.0] * 100)
    assert share(over, "recommend") > 0.99
    for _ in range(100):
        over.update(0.0)
    assert over.level == 0


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(1, 1000)), max_size=100))
def test_the_pressure_stays_in_its_range(looks: Sequence[tuple[float, float]]) -> None:
    one = pressure()
    for lag_s, intervals in looks:
        one.update(lag_s, intervals)
        assert 0 <= one.level <= 2


async def test_a_gateway_whose_loop_is_late_takes_events_and_refuses_the_rest(open_gateway: OpenGateway) -> None:
    async with open_gateway(limits=LimitSettings(max_loop_lag_s=5.0)) as gateway:
        limit = gateway.app.state.pressure
        await limit.close()
        for _ in range(20):
            limit.update(60.0)
        for method, path, body in (
            ("PUT", "/items/i", {"title": "tea"}),
            ("POST", "/recommend", {"user_id": "u"}),
            ("GET", "/users/u", None),
        ):
            refused = await gateway.ask(method, path, body)
            assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
            assert int(refused.headers["retry-after"]) > 0
        assert (await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "i"})).status_code == 202
        assert (await gateway.ask("DELETE", "/users/u")).status_code == 204
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await gateway.ask("GET", path)).status_code == 200
        for name in ("items", "recommend", "reads"):
            assert gateway.count("tastestream_shed_total", **{"class": name}) == 1
        limit.start()
        await until(lambda: limit.level == 0)
        assert (await gateway.ask("POST", "/recommend", {"user_id": "u"})).status_code == 200
