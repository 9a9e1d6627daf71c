"""A replay without candidates measures what a gateway on a real Redis finds, apart for known and for new items."""

import io
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from PIL import Image
from rich.console import Console

from model_store.data.dataset import DatasetItem
from model_store.evaluate.retrieval.cases import RetrievalCase, RetrievalProtocol, make_retrieval_cases
from model_store.progress import Report, quiet
from service.client import histories, replay_retrieval
from service.client.client import ServiceError
from service.client.replay_retrieval import replay_retrieval as replay
from service.client.retrieval_report import KindReport, RetrievalReplay, retrieval_to_markdown, retrieval_to_rich
from service.settings.limits import LimitSettings
from service.settings.recommend import RecommendSettings
from tests.model_store.evaluate.worlds import world, write_world
from tests.redis_servers import admin_of
from tests.service.conftest import Gateway, OpenGateway
from tests.service.serving import ModelServer, serving

PROTOCOL = RetrievalProtocol(history=6, cold_share=0.3)
WORLD = replace(world(), items={f"i{n}": DatasetItem(f"i{n}", f"Item <{n}>") for n in range(60)})
DRAWN = make_retrieval_cases(WORLD, PROTOCOL)
CASES = {"warm": DRAWN.warm, "cold": DRAWN.cold}
SCORES = {f"i{n}": 0.1 + 0.8 * ((49 * n + 5) % 60) / 60 for n in range(60)}
"""What the model says of an item, for every user: no two items the same."""
SIZES = (3, 12)
SETTINGS = RecommendSettings(deadline_ms=30_000, retrieve=60, new_items_share=0)


class Recorder(httpx.ASGITransport):
    """Calls the gateway, and keeps what it was asked for and answered."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway.app)
        self.asked: list[tuple[dict[str, Any], dict[str, Any]]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if request.url.path == "/recommend":
            self.asked.append((orjson.loads(request.content), orjson.loads(await answer.aread())))
        return answer

    def answers(self, kind: str, size: int) -> Mapping[str, list[dict[str, Any]]]:
        """The items of the answers of a size to users of a kind, by user of the dataset."""
        return {
            ask["user_id"].removeprefix(f"run:{kind}:"): answer["items"]
            for ask, answer in self.asked
            if ask["user_id"].startswith(f"run:{kind}:") and ask["k"] == size
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_world(WORLD, tmp_path / "world")


@pytest.fixture
async def gateway(open_ranked: OpenGateway, model: ModelServer) -> AsyncIterator[Gateway]:
    """A gateway whose model knows `SCORES`, without workers."""
    model.scores = {WORLD.items[item].title: score for item, score in SCORES.items()}
    async with serving(model.app()) as url, open_ranked(url, recommend=SETTINGS) as gateway:
        yield gateway


async def played(
    folder: Path, gateway: Gateway, report: Report = quiet, **options: Any
) -> tuple[RetrievalReplay, Recorder]:
    recorder = Recorder(gateway)
    given = {"sizes": SIZES, "wait": False, "run_id": "run", "transport": recorder, **options}
    return await replay(folder, "http://t", PROTOCOL, report, **given), recorder


def by_kind(report: RetrievalReplay) -> dict[str, KindReport]:
    return {one.kind: one for one in report.kinds}


def best(case: RetrievalCase, size: int) -> list[str]:
    """What the model would choose among all items that the user had not met."""
    return sorted(WORLD.items.keys() - case.seen, key=lambda item: -SCORES[item])[:size]


async def test_a_hit_is_a_target_among_the_first_items_that_the_user_had_not_met(
    folder: Path, gateway: Gateway
) -> None:
    report, recorder = await played(folder, gateway)
    assert any(case.seen & DRAWN.hidden for case in DRAWN.cold), "some had met items that are never posted"
    for kind, cases in CASES.items():
        found = by_kind(report)[kind]
        assert found.cases == len(cases) > 10
        for place, size in enumerate(SIZES):
            hits = [case.target in best(case, size) for case in cases]
            assert 0 < sum(hits) < len(cases)
            assert found.sizes[place].hit_rate.mean == pytest.approx(sum(hits) / len(cases))
            shown = recorder.answers(kind, size)
            assert {case.user_id: best(case, size) for case in cases} == {
                user: [item["item_id"] for item in items] for user, items in shown.items()
            }
    assert (report.items, report.hidden) == (60, len(DRAWN.hidden))


async def test_items_and_hits_are_counted_by_the_stage_that_found_them(folder: Path, gateway: Gateway) -> None:
    popular = sorted(WORLD.items)[::7]
    await gateway.store.cooccurrence.seed("ranker@1", [(item, 9.0) for item in popular], [])
    report, recorder = await played(folder, gateway)
    for kind, cases in CASES.items():
        targets = {case.user_id: case.target for case in cases}
        for found in by_kind(report)[kind].sizes:
            items = [
                (user, item["item_id"], item["source"])
                for user, shown in recorder.answers(kind, found.size).items()
                for item in shown
            ]
            assert found.shown == Counter(source for _, _, source in items)
            assert found.hits == Counter(source for user, item, source in items if targets[user] == item)
            assert found.hidden == sum(item in DRAWN.hidden for _, item, _ in items)
            assert found.shown["popular"] > 0
            assert sum(found.served_by.values()) == found.latency.calls == len(cases)
    assert by_kind(report)["warm"].sizes[0].shown.keys() == {"popular"}
    assert by_kind(report)["warm"].sizes[1].shown.keys() == {"popular", "catalogue"}


async def test_each_case_has_a_user_with_its_own_visible_history(folder: Path, gateway: Gateway) -> None:
    await played(folder, gateway)
    both = {case.user_id for case in DRAWN.warm} & {case.user_id for case in DRAWN.cold}
    assert both
    for kind, cases in CASES.items():
        for case in cases:
            user = (await gateway.ask("GET", f"/users/run:{kind}:{case.user_id}")).json()
            assert [event["item_id"] for event in user["recents"]] == [event.item_id for event in case.history]


async def test_users_are_deleted_on_request_before_those_of_the_next_kind_exist(folder: Path, gateway: Gateway) -> None:
    stages: list[str] = []
    await played(folder, gateway, report=lambda stage, done, note: stages.append(stage), delete=True)
    assert list(dict.fromkeys(stages)) == [
        "loading items",
        *(f"{kind}: {stage}" for kind in CASES for stage in ("posting events", "recommending", "deleting")),
    ]
    for kind, cases in CASES.items():
        user = (await gateway.ask("GET", f"/users/run:{kind}:{cases[0].user_id}")).json()
        assert (user["recents"], user["pending_events"]) == ([], 0)


async def test_hidden_items_are_the_newest_of_the_catalogue(folder: Path, gateway: Gateway, redis_url: str) -> None:
    await played(folder, gateway)
    with admin_of(redis_url, decode_responses=True) as admin:
        put_at = dict(admin.zrange("ts:new", 0, -1, withscores=True))
    assert put_at.keys() == WORLD.items.keys()
    known = [at for item, at in put_at.items() if item not in DRAWN.hidden]
    assert max(known) < min(put_at[item] for item in DRAWN.hidden)


async def test_what_exceeds_the_bound_of_exclusions_is_left_out_of_the_answers(
    folder: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_retrieval, "MAX_EXCLUDED", 1)
    report, recorder = await played(folder, gateway)
    cold = by_kind(report)["cold"]
    unposted = [len(case.seen - {event.item_id for event in case.history}) for case in DRAWN.cold]
    assert cold.partly_excluded == sum(count > 1 for count in unposted) > 0
    assert max(len(ask["exclude_item_ids"]) for ask, _ in recorder.asked[1:]) == 1
    seen = {case.user_id: case.seen for case in DRAWN.cold}
    answers = recorder.answers("cold", SIZES[-1])
    met = sum(item["item_id"] in seen[user] for user, items in answers.items() for item in items)
    assert cold.sizes[-1].met == met > 0
    assert sum(cold.sizes[-1].shown.values()) == sum(map(len, answers.values())) - met
    assert f"{cold.partly_excluded} users met more items than a request may exclude" in retrieval_to_markdown(report)


async def test_a_size_beyond_the_services_limit_is_said_before_anything_is_loaded(
    folder: Path, open_gateway: OpenGateway
) -> None:
    async with open_gateway(limits=LimitSettings(max_k=5)) as gateway:
        with pytest.raises(ServiceError, match=r"does not answer with 12 items .*: ask for fewer with --k, or raise"):
            await played(folder, gateway)
        assert (await gateway.ask("GET", "/items")).json()["items"] == []


async def test_the_service_is_asked_when_everything_is_folded(
    folder: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "STALL_S", 0.05)
    monkeypatch.setattr(histories, "POLL_S", 0.01)
    with pytest.raises(ServiceError, match="events to fold, and none was folded"):
        await played(folder, gateway, wait=True)


async def test_pictures_without_a_description_are_counted_and_not_waited_for(folder: Path, gateway: Gateway) -> None:
    (folder / "images").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "images/a.png")
    lines = (folder / "items.jsonl").read_text().splitlines()
    (folder / "items.jsonl").write_text("\n".join([lines[0][:-1] + ', "image": "a.png"}', *lines[1:]]) + "\n")
    looks: list[float] = []

    def report(stage: str, done: float, note: str) -> None:
        if stage == "describing pictures":
            looks.append(done)

    found, _ = await played(folder, gateway, report=report)
    assert found.undescribed == 1
    assert len(looks) <= 2
    assert "1 pictures were not described" in retrieval_to_markdown(found)


async def test_degraded_answers_give_a_warning(folder: Path, open_gateway: OpenGateway) -> None:
    async with open_gateway() as gateway:
        report, _ = await played(folder, gateway)
    warm = by_kind(report)["warm"]
    assert warm.sizes[0].degraded == {"no_ranker": warm.cases}
    assert "WARNING: 100.0 % of the warm answers were degraded (no_ranker" in retrieval_to_markdown(report)


async def test_a_report_reads_the_same_on_a_terminal_and_in_a_document(folder: Path, gateway: Gateway) -> None:
    report, _ = await played(folder, gateway)
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(retrieval_to_rich(report))
    rate = by_kind(report)["cold"].sizes[0].hit_rate
    for text in (console.export_text(), retrieval_to_markdown(report)):
        assert f"{100 * rate.mean:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}] %" in text
        assert f"from 60 items, of which {len(DRAWN.hidden)} are hidden from training (share 0.3, seed 0)" in text
        assert "test users; ranker@1" in text
        assert f"cold: the last liked hidden item, which stands for a new one, {len(DRAWN.cold)} users" in text
        assert "answers of 3: served by" in text
        assert "none degraded" in text
        assert "folding was not waited for" in text
        assert "WARNING" not in text
