"""A key sends at most its rate, and after a pause a burst; other keys and scopes are not affected."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api_keys.file import add_key
from service.api_keys.records import ApiKey, digest_of
from service.errors import RateLimited
from service.http import rates
from service.http.rates import RateLimits
from service.settings.limits import LimitSettings, RateSettings
from tests.service.conftest import OpenGateway


class Bucket:
    """`RateLimits` with a clock that the test sets."""

    def __init__(self, rate: float, burst_s: float) -> None:
        self.now = 1000.0
        limits = LimitSettings(requests_per_s=RateSettings(events=rate), rate_burst_s=burst_s)
        self.limits = RateLimits(limits, lambda: self.now)

    def takes(self, name: str = "web") -> bool:
        try:
            self.limits.take(("default", name), "events")
        except RateLimited as error:
            self.retry_after_s = error.retry_after_s or 0.0
            return False
        return True


@given(rate=st.floats(0.1, 1000), burst_s=st.floats(0, 20), pauses=st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_no_more_pass_than_the_bucket_held_and_what_was_refilled(
    rate: float, burst_s: float, pauses: list[float]
) -> None:
    bucket, passed = Bucket(rate, burst_s), 0
    for pause in pauses:
        bucket.now += pause
        passed += bucket.takes()
        assert passed <= max(1.0, rate * burst_s) + rate * (bucket.now - 1000) + 1e-3


@given(rate=st.floats(0.1, 1000), burst_s=st.floats(0, 20))
def test_after_the_time_that_the_answer_names_the_next_one_passes(rate: float, burst_s: float) -> None:
    bucket = Bucket(rate, burst_s)
    for _ in range(math.ceil(max(1.0, rate * burst_s))):
        bucket.takes()
    if bucket.takes():
        return
    bucket.now += bucket.retry_after_s * 0.9
    assert not bucket.takes()
    bucket.now += bucket.retry_after_s + 1e-6
    assert bucket.takes()


def test_names_have_their_own_buckets() -> None:
    bucket = Bucket(1, 0)
    assert [bucket.takes("a"), bucket.takes("a"), bucket.takes("b")] == [True, False, True]


def test_names_of_different_tenants_have_their_own_buckets() -> None:
    bucket = Bucket(1, 0)
    bucket.limits.take(("shop", "web"), "events")
    bucket.limits.take(("news", "web"), "events")
    with pytest.raises(RateLimited):
        bucket.limits.take(("shop", "web"), "events")


def test_the_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST_BUCKETS", 10)
    bucket = Bucket(1, 0)
    for number in range(100):
        bucket.now += 0.5
        assert bucket.takes(str(number))
        assert len(bucket.limits._full_at) <= 10
    assert not bucket.takes("99")


async def test_a_key_beyond_its_rate_gets_a_429_and_others_do_not(open_gateway: OpenGateway, tmp_path: Path) -> None:
    for name, secret in (("web", "one"), ("web", "two"), ("job", "three")):
        add_key(tmp_path / "keys", ApiKey(digest_of(secret), name, "shop", frozenset({"items", "users"})))
    limits = LimitSettings(requests_per_s=RateSettings(items=0.001), rate_burst_s=2000)
    async with open_gateway(api_keys_file=tmp_path / "keys", limits=limits, tenants={"shop": {}}) as gateway:

        async def status(secret: str, path: str) -> int:
            answer = await gateway.ask("GET", path, headers={"authorization": f"Bearer {secret}"})
            if answer.status_code == 429:
                assert answer.json()["code"] == "rate_limited"
                assert 1 <= int(answer.headers["retry-after"]) <= 1000
            return answer.status_code

        assert [await status("one", "/items"), await status("two", "/items")] == [200, 200]
        assert [await status("one", "/items"), await status("two", "/items/x")] == [429, 429]
        assert [await status("one", "/users/u"), await status("three", "/items")] == [200, 200]
        assert gateway.count("tastestream_errors_total", code="rate_limited") == 2


async def test_requests_beyond_the_rate_of_a_key_are_not_bad_ones(open_gateway: OpenGateway, tmp_path: Path) -> None:
    add_key(tmp_path / "keys", ApiKey(digest_of("one"), "web", "shop", frozenset({"events", "recommend"})))
    limits = LimitSettings(requests_per_s=RateSettings(events=0.001, recommend=0.001), rate_burst_s=0)
    async with open_gateway(api_keys_file=tmp_path / "keys", limits=limits, tenants={"shop": {}}) as gateway:
        for path, body in (("/events", {"user_id": "u", "item_id": "i"}), ("/recommend", {"user_id": "u"})):
            headers = {"authorization": "Bearer one"}
            answers = [await gateway.ask("POST", path, body, headers=headers) for _ in range(3)]
            assert [answer.status_code for answer in answers[1:]] == [429, 429]
        events, recommendations = "tastestream_events_slo_total", "tastestream_recommend_slo_total"
        assert (gateway.count(events, result="accepted"), gateway.count(events, result="refused")) == (1, 0)
        assert gateway.count(recommendations, result="failed") == 0
