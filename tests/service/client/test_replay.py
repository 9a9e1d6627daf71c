"""A replay sends what a test user did, waits for the folds, and measures the service's answers."""

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from model_store.data.dataset import Dataset, DatasetError
from model_store.evaluate.baselines import ITEM_KNN, POPULARITY, baseline_scores
from model_store.evaluate.compare import evaluate_scores
from model_store.evaluate.protocol import Protocol, ProtocolError, make_cases
from service.client import histories
from service.client.client import ServiceError
from service.client.replay import COLLABORATIVE, DEADLINE_MS, MLLM, SERVICE, replay
from service.client.report import ReplayReport, replay_to_markdown, replay_to_rich
from tests.model_store.evaluate.worlds import catalogue, like, world, write_world
from tests.service.client.fake_service import FakeService

PROTOCOL = Protocol(history=6)
WORLD = world()
CASES = {f"run:{case.user_id}": case for case in make_cases(WORLD, PROTOCOL)}


def oracle(user: str, item: str) -> dict[str, float | None]:
    """The model is always right, co-occurrence always wrong by less."""
    right = item == CASES[user].target
    return {"mllm": 0.9 if right else 0.2, "collaborative": 0.0 if right else 0.5, "popular": 0.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "POLL_S", 0.01)
    monkeypatch.setattr(histories, "EVENTS_PER_REQUEST", 4)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "STALL_S", 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_world(WORLD, tmp_path / "world")


@pytest.fixture
def service() -> FakeService:
    return FakeService(oracle)


async def played(folder: Path, service: FakeService, seen: list[Any] | None = None, **options: Any) -> ReplayReport:
    stages = [] if seen is None else seen
    given = {"run_id": "run", "transport": service.transport, **options}
    return await replay(folder, "http://fake/", PROTOCOL, lambda *stage: stages.append(stage), **given)


def add_item(folder: Path, line: str) -> None:
    items = folder / "items.jsonl"
    items.write_text(items.read_text() + line + "\n")


async def test_each_method_is_measured_on_what_the_service_answered(folder: Path, service: FakeService) -> None:
    report = await played(folder, service)
    assert report.table.cases == len(CASES)
    assert report.table.rows[SERVICE].auc.mean == 1
    assert report.table.rows[MLLM].ndcg.mean == 1
    assert report.table.rows[COLLABORATIVE].auc.mean == 0
    cases = list(CASES.values())
    offline = evaluate_scores(cases, baseline_scores(WORLD, cases))
    assert report.table.rows[POPULARITY] == offline.rows[POPULARITY]
    assert report.table.rows[ITEM_KNN] == offline.rows[ITEM_KNN]
    gaps = {(gap.method, gap.baseline): gap.auc.mean for gap in report.differences}
    assert gaps[SERVICE, ITEM_KNN] == pytest.approx(1 - offline.rows[ITEM_KNN].auc.mean)
    assert gaps[MLLM, POPULARITY] == pytest.approx(1 - offline.rows[POPULARITY].auc.mean)
    assert (report.models, report.degraded) == (("fake@1",), {})


async def test_the_whole_history_and_nothing_later_is_posted_in_order(folder: Path, service: FakeService) -> None:
    service.busy = 3
    await played(folder, service)
    assert service.events.keys() == CASES.keys()
    for user, case in CASES.items():
        posted = service.events[user]
        assert [event["item_id"] for event in posted] == [event.item_id for event in case.history]
        assert [event["timestamp"] for event in posted] == [event.timestamp for event in case.history]
        assert len({event["event_id"] for event in posted}) == len(posted)
        assert case.target not in {event["item_id"] for event in posted}


async def test_events_that_met_a_full_backlog_are_sent_again(folder: Path, service: FakeService) -> None:
    service.full = 1
    await played(folder, service)
    assert {len(events) for events in service.events.values()} == {6}


async def test_the_service_is_asked_only_when_everything_is_folded(folder: Path, service: FakeService) -> None:
    report = await played(folder, service)
    assert all(service.folded[user] == 6 for user in CASES)
    assert report.folding.events == 6 * len(CASES)
    assert report.folding.summaries == 3 * len(CASES)
    assert report.event_latency.calls == 2 * len(CASES)
    assert report.recommend_latency.calls == len(CASES)
    first = service.asked[0]
    assert (first["k"], first["exclude_seen"], first["explain"]) == (21, False, True)
    assert first["deadline_ms"] == DEADLINE_MS
    assert sorted(first["candidates"]) == sorted(CASES[first["user_id"]].candidates)


async def test_a_second_run_loads_nothing_and_has_its_own_users(folder: Path, service: FakeService) -> None:
    await played(folder, service)
    assert service.received == 60
    service.components = lambda user, item: {"mllm": 0.5, "collaborative": 0.0, "popular": 0.0}
    await played(folder, service, run_id=None)
    assert service.received == 60
    assert len(service.events) == 2 * len(CASES)


async def test_an_interrupted_load_resumes(folder: Path, service: FakeService) -> None:
    listed = {"picture": None, "picture_error": None, "summary": None}
    service.items = {f"i{n}": {"item_id": f"i{n}", "title": f"Item {n}"} | listed for n in range(50)}
    service.items["i3"]["title"] = "of another data set"
    await played(folder, service)
    assert service.received == 11
    assert service.items["i3"]["title"] == "Item 3"


async def test_pictures_are_sent_and_their_descriptions_awaited(folder: Path, service: FakeService) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "1.png").write_text("pixels")
    lines = (folder / "items.jsonl").read_text().splitlines()
    lines[1] = '{"item_id":"i1","title":"Item 1","image":"1.png"}'
    (folder / "items.jsonl").write_text("\n".join(lines))
    stages: list[tuple[str, float, str]] = []
    report = await played(folder, service, seen=stages)
    assert service.items["i1"]["picture"] == "pixels"
    assert [stage for stage in stages if stage[0] == "describing pictures"][-1] == (
        "describing pictures",
        1.0,
        "1 of 1",
    )
    assert report.undescribed == 0
    await played(folder, service)
    assert service.received == 60
    service.items["i1"]["picture"] = None
    await played(folder, service)
    assert service.received == 61


@pytest.mark.usefixtures("impatient")
async def test_pictures_that_stay_undescribed_are_reported(folder: Path, service: FakeService) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "1.png").write_text("pixels")
    add_item(folder, '{"item_id":"p","title":"P","image":"1.png"}')
    service.describes = False
    report = await played(folder, service)
    assert report.undescribed == 1
    assert "1 pictures were not described" in replay_to_markdown(report)


async def test_texts_beyond_the_services_limits_are_cut(tmp_path: Path, service: FakeService) -> None:
    folder = write_world(WORLD, tmp_path / "world")
    tags = ",".join(f'"{"t" * 150}"' for _ in range(80))
    add_item(folder, f'{{"item_id":"long","title":"{"x" * 900}","tags":[{tags}]}}')
    await played(folder, service)
    sent = service.items["long"]
    assert (len(sent["title"]), len(sent["tags"]), len(sent["tags"][0])) == (500, 50, 100)


async def test_fields_that_a_dataset_does_not_define_are_ignored(folder: Path, service: FakeService) -> None:
    add_item(folder, '{"item_id":"new","title":"New","year":1995,"caption":"a boat"}')
    await played(folder, service)
    assert service.items["new"]["title"] == "New"


async def test_degraded_answers_give_a_warning_and_count_as_a_coin_toss(folder: Path, service: FakeService) -> None:
    user = next(iter(CASES))
    service.degraded = {user}
    service.components = lambda who, item: oracle(who, item) | ({"mllm": None} if who == user else {})
    report = await played(folder, service)
    assert report.degraded == {"ranker_timeout": 1}
    assert report.table.rows[MLLM].auc.mean == pytest.approx(1 - 0.5 / len(CASES))
    markdown = replay_to_markdown(report)
    assert "WARNING" in markdown
    assert "ranker_timeout: 1" in markdown


async def test_users_are_deleted_on_request(folder: Path, service: FakeService) -> None:
    await played(folder, service, delete=True)
    assert not service.events


async def test_progress_reports_every_stage_to_its_end(folder: Path, service: FakeService) -> None:
    stages: list[tuple[str, float, str]] = []
    await played(folder, service, seen=stages)
    last = {stage: done for stage, done, _ in stages}
    assert last == {"loading items": 1, "posting events": 1, "folding": 1, "recommending": 1}


async def test_a_report_reads_the_same_on_a_terminal_and_in_a_document(folder: Path, service: FakeService) -> None:
    report = await played(folder, service)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(replay_to_rich(report))
    for text in (console.export_text(), replay_to_markdown(report)):
        assert "100.0 [100.0, 100.0]" in text
        assert f"{len(CASES)} users, last liked item among 20 popular negatives, test users; fake@1" in text
        assert "AUC of Tastestream (blend) minus ItemKNN: +" in text
        assert "POST /recommend: p50" in text
        assert "degraded answers: 0.0 %" in text
        assert "WARNING" not in text


async def test_the_key_is_sent(folder: Path, service: FakeService) -> None:
    await played(folder, service, api_key="secret")
    assert service.keys == {"Bearer secret"}


@pytest.mark.usefixtures("impatient")
async def test_folds_that_stop_end_the_wait(folder: Path, service: FakeService) -> None:
    service.folds = 0
    with pytest.raises(ServiceError, match=r"\d+ users still have \d+ events to fold, and none was folded for 0 s"):
        await played(folder, service)


async def test_a_candidate_that_the_service_does_not_rank_is_named(folder: Path, service: FakeService) -> None:
    lost = next(iter(CASES.values())).target
    service.loses = lost
    with pytest.raises(ServiceError, match=rf"did not rank every candidate; skipped: {lost} \(unknown_item\)"):
        await played(folder, service)


async def test_a_refused_event_is_named(folder: Path, service: FakeService) -> None:
    service.refuses = next(iter(CASES.values())).history[0].item_id
    with pytest.raises(ServiceError, match="rejected an event: timestamp: is in the future"):
        await played(folder, service)


async def test_a_refused_item_is_named(folder: Path, service: FakeService) -> None:
    add_item(folder, '{"item_id":"bad","title":"refuse me"}')
    with pytest.raises(ServiceError, match=r"items.jsonl, line 61: item bad was rejected: title: too rude"):
        await played(folder, service)


async def test_an_unreachable_service_is_reported_in_one_sentence(folder: Path) -> None:
    with pytest.raises(ServiceError, match=r"the service at http://127.0.0.1:1 is not reachable: "):
        await replay(folder, "http://127.0.0.1:1", PROTOCOL, lambda *stage: None)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            httpx.Response(200, text="<html>"),
            "http://fake/items.* is not that of a Tastestream service",
        ),
        (
            httpx.Response(401, json={"code": "unauthorized", "detail": "no key"}),
            "refused: 401 unauthorized: no key",
        ),
        (httpx.Response(500, text="oops"), "GET http://fake/items was refused: 500 Internal Server Error"),
    ],
)
async def test_an_unexpected_answer_is_reported_in_one_sentence(folder: Path, answer, reason: str) -> None:
    transport = httpx.MockTransport(lambda request: answer)
    with pytest.raises(ServiceError, match=reason):
        await replay(folder, "http://fake", PROTOCOL, lambda *stage: None, transport=transport)


async def test_a_missing_file_is_named(tmp_path: Path, folder: Path, service: FakeService) -> None:
    with pytest.raises(DatasetError, match=r"items.jsonl is missing"):
        await played(tmp_path, service)
    add_item(folder, '{"item_id":"p","title":"P","image":"lost.png"}')
    with pytest.raises(ServiceError, match=r"line 61: item p was rejected: image: .*lost.png: No such file"):
        await played(folder, service)


async def test_data_without_test_users_is_refused(tmp_path: Path, service: FakeService) -> None:
    folder = write_world(Dataset(catalogue(40), {"u": (like("i1"),)}), tmp_path / "none")
    with pytest.raises(ProtocolError, match="no user of the test set"):
        await played(folder, service)
