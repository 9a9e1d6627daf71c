"""What the series of a gateway say after real requests. Series that belong to one subject are tested with it."""

import asyncio
import platform
import time
from typing import get_args

import pytest

from model_store.registry.manifest import Manifest
from service.errors import codes
from service.http.connection import bounded_http
from service.metrics import Metrics
from service.recommend.deadline import Deadline
from service.recommend.warnings import REASONS
from service.settings.engines import EngineSettings
from service.settings.limits import ConcurrencySettings, LimitSettings
from service.settings.state import StateSettings
from service.state.kinds import KINDS
from service.state.records import Accepted
from tests.service.conftest import Gateway, OpenGateway
from tests.service.recommend.asking import ASK, fill, recommend, send
from tests.service.serving import VERSION, ModelServer, serving, until

EVENT = {"user_id": "u", "item_id": "tea"}
OUTCOMES = ("committed", "refused", "retried", "dead_lettered", "released", "lost")
RECOMMEND, EVENTS = "tastestream_recommend_slo_total", "tastestream_events_slo_total"


def results(gateway: Gateway, series: str) -> dict[str, float]:
    """The results that were counted at least once."""
    names = ("good", "degraded", "late", "failed", "accepted", "refused")
    return {name: count for name in names if (count := gateway.count(series, result=name))}


class TestObjectives:
    async def test_each_recommendation_has_one_result(
        self, ranked: Gateway, model: ModelServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fill(ranked, "tea", "pan", "hat")
        await recommend(ranked)
        assert results(ranked, RECOMMEND) == {"good": 1}
        with monkeypatch.context() as patch:
            patch.setattr(Deadline, "used", lambda _: 1.01)
            await recommend(ranked, user_id="late")
        assert results(ranked, RECOMMEND) == {"good": 1, "late": 1}
        model.status = 500
        await recommend(ranked, user_id="degraded")
        with monkeypatch.context() as patch:
            patch.setattr(Deadline, "used", lambda _: 1.01)
            await recommend(ranked, user_id="degraded and late")
        assert results(ranked, RECOMMEND) == {"good": 1, "late": 1, "degraded": 2}

    async def test_what_the_service_refuses_has_failed(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(redis_url="redis://127.0.0.1:1", state=StateSettings(redis_timeout_s=0.5)) as gateway:
            assert (await gateway.ask("POST", "/recommend", ASK)).status_code == 503
            assert (await gateway.ask("POST", "/events", EVENT)).status_code == 503
            assert results(gateway, RECOMMEND) == {"failed": 1}
            assert results(gateway, EVENTS) == {"refused": 1}

    async def test_a_request_beyond_the_limits_has_failed(self, open_ranked: OpenGateway, model: ModelServer) -> None:
        limits = LimitSettings(max_concurrent_requests=ConcurrencySettings(recommend=1))
        async with serving(model.app()) as url, open_ranked(url, limits=limits) as gateway:
            await fill(gateway, "tea", "pan", "hat")
            model.answering.clear()
            first = asyncio.create_task(recommend(gateway))
            await until(lambda: bool(model.requests))
            assert (await gateway.ask("POST", "/recommend", ASK)).status_code == 429
            model.answering.set()
            await first
            assert results(gateway, RECOMMEND) == {"good": 1, "failed": 1}

    async def test_what_is_the_callers_fault_is_not_counted(self, gateway: Gateway) -> None:
        assert (await gateway.ask("POST", "/recommend", {**ASK, "k": 0})).status_code == 422
        assert (await gateway.ask("GET", "/recommend")).status_code == 405
        assert (await gateway.ask("POST", "/events", {"user_id": "u"})).status_code == 422
        assert (await gateway.ask("OPTIONS", "/events")).status_code < 500
        assert (await gateway.ask("POST", "/nowhere", EVENT)).status_code == 404
        assert results(gateway, RECOMMEND) == results(gateway, EVENTS) == {}

    async def test_events_that_must_be_sent_again_are_refused(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(state=StateSettings(max_pending=2)) as gateway:
            await gateway.ask("POST", "/events", EVENT)
            assert results(gateway, EVENTS) == {"accepted": 1}
            await gateway.ask("POST", "/events", [{**EVENT, "user_id": "other"}, {**EVENT, "colour": 1}])
            assert results(gateway, EVENTS) == {"accepted": 2}, "the caller's fault, whatever else was sent"
            partly = await gateway.ask("POST", "/events", [{**EVENT, "item_id": f"i{n}"} for n in range(2)])
            assert partly.status_code == 202
            assert results(gateway, EVENTS) == {"accepted": 2, "refused": 1}
            full = await gateway.ask("POST", "/events", {**EVENT, "item_id": "more"})
            assert full.status_code == 429
            lines = "".join(f'{{"user_id": "{user}", "item_id": "more"}}\n' for user in ("u", "third"))
            streamed = await gateway.client.post(
                "/events", content=lines, headers={"content-type": "application/x-ndjson"}
            )
            assert streamed.status_code == 202
            assert results(gateway, EVENTS) == {"accepted": 2, "refused": 3}

    async def test_targets_are_exported_and_unseen_results_are_zero(self, gateway: Gateway) -> None:
        targets = {
            name: gateway.count("tastestream_slo_target_ratio", slo=name)
            for name in ("recommend", "freshness", "events")
        }
        assert targets == {"recommend": 0.999, "freshness": 0.99, "events": 0.999}
        assert gateway.count("tastestream_slo_freshness_threshold_seconds") == 60
        assert gateway.metrics.registry.get_sample_value(RECOMMEND, {"result": "failed"}) == 0
        assert gateway.metrics.registry.get_sample_value(EVENTS, {"result": "refused"}) == 0


class TestFromTheStart:
    """What first appears as 1 has no increase, so that an alert on it would not see the first occurrence."""

    @pytest.mark.parametrize(
        ("series", "known"),
        [
            ("tastestream_errors", [{"code": code} for code in codes()]),
            (
                "tastestream_events",
                [{"tenant": "default", "result": result} for result in (*get_args(Accepted), "rejected")],
            ),
            ("tastestream_empty_recommendations", [{"reason": reason} for reason in REASONS]),
            (
                "tastestream_jobs",
                [{"kind": kind.name, "outcome": outcome} for kind in KINDS for outcome in OUTCOMES],
            ),
        ],
    )
    def test_every_known_label_is_zero(self, series: str, known: list[dict[str, str]]) -> None:
        (family,) = (one for one in Metrics().registry.collect() if one.name == series)
        samples = [one for one in family.samples if one.name.endswith("_total")]
        assert sorted(map(str, known)) == sorted(str(one.labels) for one in samples)
        assert {one.value for one in samples} == {0}

    def test_the_codes_are_those_of_the_classes(self) -> None:
        assert {"internal_error", "state_unavailable", "key_revoked", "rate_limited"} <= set(codes())

    async def test_calls_of_the_engines_in_use_are_zero(self, ranked: Gateway) -> None:
        calls = "tastestream_engine_calls_total"
        for outcome in ("ok", "engine_timeout", "engine_unavailable", "answer_empty"):
            labels = {"engine": "ranker", "call": "score", "outcome": outcome}
            assert ranked.metrics.registry.get_sample_value(calls, labels) == 0

    async def test_events_of_each_tenant_are_zero(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(tenants={"shop": {}}) as gateway:
            labels = {"tenant": "shop", "result": "overloaded"}
            assert gateway.metrics.registry.get_sample_value("tastestream_events_total", labels) == 0

    async def test_limits_are_shown_beside_what_they_limit(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(state=StateSettings(max_backlog=77, lease_s=12.5)) as gateway:
            assert gateway.count("tastestream_max_backlog") == 77
            assert gateway.count("tastestream_lease_seconds") == 12.5
            bounded_http(LimitSettings(connections=50), gateway.metrics)
            assert gateway.count("tastestream_max_connections") == 50


class TestEvents:
    async def test_freshness_is_the_time_to_the_write_and_of_accepted_events_only(self, gateway: Gateway) -> None:
        started, began = time.perf_counter(), time.time()
        events = [{**EVENT, "event_id": f"e{number}"} for number in range(3)]
        await gateway.ask("POST", "/events", events)
        elapsed = time.perf_counter() - started
        count, total = "tastestream_event_to_recents_seconds_count", "tastestream_event_to_recents_seconds_sum"
        assert gateway.count(count) == 1
        assert 0 < gateway.count(total) < elapsed
        first = gateway.count("tastestream_last_event_timestamp_seconds")
        assert began <= first <= time.time()
        await gateway.ask("POST", "/events", events)
        assert gateway.count(count) == 1, "duplicates change nothing"
        assert gateway.count("tastestream_last_event_timestamp_seconds") == first
        lines = b'{"user_id": "s", "item_id": "i"}\n'
        await gateway.client.post("/events", content=lines, headers={"content-type": "application/x-ndjson"})
        assert gateway.count(count) == 2
        assert gateway.count("tastestream_last_event_timestamp_seconds") > first


class TestRecommendations:
    async def test_exposures_are_answers_with_items_by_what_their_events_will_name(self, ranked: Gateway) -> None:
        await recommend(ranked)
        assert ranked.count("tastestream_exposures_total", served_by="none", model=VERSION) == 0
        await fill(ranked, "tea", "pan", "hat")
        answer = await recommend(ranked)
        assert ranked.count("tastestream_exposures_total", served_by="mllm", model=VERSION) == 1
        await ranked.ask("POST", "/events", {**EVENT, "recommendation_id": answer["recommendation_id"], "type": "like"})
        labels = {"served_by": "mllm", "model": VERSION, "signal": "positive"}
        assert ranked.count("tastestream_recommendation_outcomes_total", **labels) == 1

    async def test_short_answers_are_neither_full_nor_empty(self, gateway: Gateway) -> None:
        await fill(gateway, "tea", "pan")
        short = "tastestream_short_recommendations_total"
        await recommend(gateway, k=2, candidates=["tea", "pan"])
        await recommend(gateway, k=2, candidates=["unknown"])
        assert gateway.count(short) == 0
        await recommend(gateway, k=3, candidates=["tea", "pan"])
        assert gateway.count(short) == 1

    async def test_candidates_are_counted_per_request_and_by_source(self, gateway: Gateway) -> None:
        await fill(gateway, "tea", "pan", "hat")
        await send(gateway, "tea")
        await recommend(gateway, candidates=["tea", "pan", "hat", "unknown"])
        source = "tastestream_retrieved_candidates_total"
        assert gateway.count(source, source="given") == 3
        assert gateway.count("tastestream_recommend_candidates_sum") == 2, "one of them was seen"
        await gateway.store.cooccurrence.record(["pan"], [])
        await recommend(gateway, candidates=None)
        assert gateway.count("tastestream_recommend_candidates_count") == 2
        found = sum(gateway.count(source, source=name) for name in ("new", "cooccurrence", "popular", "catalogue"))
        assert found == 2

    async def test_the_share_of_the_deadline_is_that_of_the_request(self, gateway: Gateway) -> None:
        started = time.perf_counter()
        await recommend(gateway, deadline_ms=30_000)
        used = (time.perf_counter() - started) / 30
        assert gateway.count("tastestream_recommend_deadline_used_ratio_count") == 1
        assert 0 < gateway.count("tastestream_recommend_deadline_used_ratio_sum") < used

    async def test_fresh_scores_are_counted_by_bin_and_cached_ones_are_not(
        self, ranked: Gateway, model: ModelServer
    ) -> None:
        await fill(ranked, "tea", "pan", "hat")
        await send(ranked, "cup")
        model.scores = {"tea": 0.0, "pan": 0.31, "hat": 1.0}
        for _ in range(2):
            await recommend(ranked)
        bins = {f"0.{n}": ranked.count("tastestream_scores_total", model=VERSION, bin=f"0.{n}") for n in range(10)}
        assert {name: count for name, count in bins.items() if count} == {"0.0": 1, "0.3": 1, "0.9": 1}


class TestModelsAndStore:
    async def test_the_versions_in_use_are_shown_with_their_age(
        self, open_ranked: OpenGateway, model: ModelServer
    ) -> None:
        async with (
            serving(model.app()) as url,
            open_ranked(url, summarizer=EngineSettings(url=url, model="writer")) as gateway,
        ):
            info = "tastestream_model_info"
            assert gateway.count(info, role="ranker", model=VERSION, mode="score") == 1
            assert gateway.count(info, role="summarizer", model="writer", mode="generate") == 1
            manifest = gateway.settings.models_folder / "ranker/1/manifest.toml"
            created = Manifest.parse(manifest.read_text(), str(manifest)).created
            assert created is not None
            age = "tastestream_model_created_timestamp_seconds"
            assert gateway.count(age, role="ranker", model=VERSION) == created.timestamp()
            assert time.time() - created.timestamp() < 600, "registered by this test"
            assert gateway.metrics.registry.get_sample_value(age, {"role": "summarizer", "model": "writer"}) is None

    async def test_tokens_are_those_that_the_server_reports(self, ranked: Gateway, model: ModelServer) -> None:
        await fill(ranked, "tea", "pan")
        model.usage = {"prompt_tokens": 70, "total_tokens": 70, "completion_tokens": 0}
        await recommend(ranked, candidates=["tea", "pan"])
        tokens = "tastestream_llm_tokens_total"
        assert ranked.count(tokens, engine="ranker", kind="prompt") == 70
        assert ranked.count(tokens, engine="ranker", kind="completion") == 0

    async def test_the_build_is_named(self, gateway: Gateway) -> None:
        python = platform.python_version()
        assert gateway.count("tastestream_build_info", version=gateway.app.version, python=python) == 1

    async def test_redis_and_the_indexes_are_shown(self, gateway: Gateway) -> None:
        began = time.time()
        await gateway.store.cooccurrence.record(["a"], [])
        await gateway.ask("GET", "/metrics")
        assert gateway.count("tastestream_redis_memory_used_bytes") > 0
        assert gateway.count("tastestream_redis_memory_max_bytes") == 0
        assert gateway.count("tastestream_redis_replicas") == 0
        assert abs(gateway.count("tastestream_clock_skew_seconds")) < 1
        assert began - 1 <= gateway.count("tastestream_index_updated_timestamp_seconds", index="popular") <= time.time()
        unset = {"index": "cooccurrence"}
        series = "tastestream_index_updated_timestamp_seconds"
        assert gateway.metrics.registry.get_sample_value(series, unset) is None
