"""`tastestream up --demo`, started once as a user starts it, and walked from the outside."""

import base64
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
import pytest

from model_store.demo import CATALOGUE, ITEMS, SEED
from model_store.demo.drawing import draw
from model_store.demo.world import WorldItem, make_items
from model_store.serving.launch import free_port
from service.client.tour import CHARACTERS, Character

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(2400)]
START_S = 1800.0
WORLD = make_items(ITEMS, SEED)[:CATALOGUE]


@dataclass(frozen=True)
class Running:
    """A `tastestream up` that serves."""

    process: subprocess.Popen[bytes]
    http: httpx.Client
    output: Path

    def child(self, *words: str) -> int:
        """The process id of the child whose command line holds all of `words`."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if all(word in _command(pid) for word in words))


def _command(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("up")
    output, port = folder / "output", free_port()
    command = [sys.executable, "-m", "service.cli.main", "up", "--demo", "--data-dir", str(folder / "data")]
    with output.open("wb") as out:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=out, stderr=subprocess.STDOUT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300, trust_env=False) as http:
            running = Running(process, http, output)
            _wait(lambda: process.poll() is not None or "Ctrl-C stops" in output.read_text(), START_S)
            assert process.poll() is None, output.read_text()
            yield running
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()


def _wait(condition: Callable[[], Any], seconds: float = 300.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.05)
    return met


def _folded(http: httpx.Client, user: str) -> dict[str, Any]:
    """The user's state once nothing is pending."""

    def state() -> dict[str, Any] | None:
        found: dict[str, Any] = http.get(f"/users/{user}").raise_for_status().json()
        return None if found["pending_events"] else found

    found: dict[str, Any] = _wait(state)
    return found


def _likes(http: httpx.Client, user: str, items: list[WorldItem]) -> dict[str, Any]:
    events = [{"user_id": user, "item_id": item.item_id, "type": "like"} for item in items]
    answer = http.post("/events", json=events)
    assert answer.status_code == 202, answer.text
    counts: dict[str, Any] = answer.json()
    return counts


@pytest.mark.parametrize("character", CHARACTERS, ids=lambda character: character.user_id)
def test_the_ranking_follows_a_taste_that_changed(up: Running, character: Character) -> None:
    assert f"ranking for {character.user_id}" in up.output.read_text()
    old = [item for item in WORLD if _affinities(character, item) >= (3, -9) and _affinities(character, item)[1] <= 0]
    new = [item for item in WORLD if _affinities(character, item)[1] >= 3 and _affinities(character, item)[0] <= 0]
    asked = [item.item_id for item in (*old[:6], *new[:6])]
    body = {"user_id": character.user_id, "candidates": asked, "k": 12, "exclude_seen": False, "deadline_ms": 20_000}
    answer = up.http.post("/recommend", json=body).raise_for_status().json()
    assert answer["served_by"] in ("mllm", "cache")
    assert answer["model"] == "demo-ranker@1"
    best = {ranked["item_id"] for ranked in answer["items"][:6]}
    assert len(best & {item.item_id for item in new}) >= 5, answer["items"]


def test_prometheus_finds_the_metrics_of_everything_that_was_started(up: Running) -> None:
    groups = json.loads((up.output.parent / "data" / "prometheus-targets.json").read_text())
    pages = {}
    for group in groups:
        (target,), labels = group["targets"], group["labels"]
        url = f"{labels['__scheme__']}://{target}{labels['__metrics_path__']}"
        pages[labels["job"]] = httpx.get(url, trust_env=False).raise_for_status().text
    jobs = ("gateway", "worker", "ranker", "summarizer", "embedder", "embedder-encoder")
    assert pages.keys() == {f"tastestream-{job}" for job in jobs}
    assert "tastestream_recommendations_total{" in pages["tastestream-gateway"]
    assert 'tastestream_jobs_total{kind="summarize",outcome="committed"}' in pages["tastestream-worker"]
    assert "vllm:num_requests_waiting{" in pages["tastestream-ranker"]
    assert "vllm:num_requests_waiting{" in pages["tastestream-summarizer"]


def _affinities(character: Character, item: WorldItem) -> tuple[int, int]:
    return character.before.affinity(item.attributes), character.after.affinity(item.attributes)


def test_an_event_is_in_the_next_answer_then_in_the_summary_and_gone_after_the_deletion(up: Running) -> None:
    jazz = [item for item in WORLD if item.attributes["genre"] == "jazz"][:4]
    assert _likes(up.http, "walker", jazz[:3]) == {"accepted": 3, "duplicates": 0, "rejected": []}

    asked = {"user_id": "walker", "candidates": [item.item_id for item in jazz], "deadline_ms": 20_000}
    answer = up.http.post("/recommend", json=asked).raise_for_status().json()
    assert [ranked["item_id"] for ranked in answer["items"]] == [jazz[3].item_id]

    state = _folded(up.http, "walker")
    assert state["summary"]["version"] == 1
    assert "jazz" in state["summary"]["text"]
    assert state["summary"]["model"] == "demo-summarizer@1"
    assert [event["item_id"] for event in state["recents"]] == [item.item_id for item in jazz[:3]]

    assert up.http.delete("/users/walker").status_code == 204
    empty = up.http.get("/users/walker").json()
    assert (empty["summary"], empty["recents"], empty["pending_events"]) == (None, [], 0)


def test_new_items_are_described_from_their_pictures_and_ranked_by_them(up: Running) -> None:
    own = {f"own-{colour}-{number}": colour for colour in ("red", "blue") for number in range(4)}
    for item_id, colour in own.items():
        encoded = io.BytesIO()
        draw(colour, "circle", 96, random.Random(item_id)).save(encoded, format="PNG")
        picture = base64.b64encode(encoded.getvalue()).decode()
        body = {"title": "Nanox and the valley", "genres": ["folk"], "image_base64": picture}
        answer = up.http.put(f"/items/{item_id}", json=body)
        assert answer.status_code == 201, answer.text
    said = [_wait(lambda item_id=item_id: up.http.get(f"/items/{item_id}").json()["summary"]) for item_id in own]
    assert sum(colour in summary for colour, summary in zip(own.values(), said, strict=True)) >= 6, said

    red, blue = ([item for item in WORLD if item.attributes["colour"] == colour] for colour in ("red", "blue"))
    _likes(up.http, "painter", red[:9])
    dislikes = [{"user_id": "painter", "item_id": item.item_id, "type": "dislike"} for item in blue[:3]]
    assert up.http.post("/events", json=dislikes).status_code == 202
    assert "red" in _folded(up.http, "painter")["summary"]["text"]
    asked = {"user_id": "painter", "candidates": list(own), "deadline_ms": 20_000}
    answer = up.http.post("/recommend", json=asked).raise_for_status().json()
    scores = {ranked["item_id"]: ranked["score"] for ranked in answer["items"]}
    mean = {colour: fmean(scores[item] for item in own if own[item] == colour) for colour in ("red", "blue")}
    assert mean["red"] > mean["blue"], answer


def test_health_and_metrics_tell_what_happened(up: Running) -> None:
    assert up.http.get("/readyz").json() == {"status": "ready", "redis": "ok", "ranker": "ok", "summarizer": "ok"}
    metrics = up.http.get("/metrics").text
    assert "demo-ana" not in metrics
    assert 'served_by="mllm"' in metrics


def test_a_second_up_on_the_same_folder_is_refused_in_one_sentence(up: Running) -> None:
    data = up.output.parent / "data"
    command = [sys.executable, "-m", "service.cli.main", "up", "--data-dir", str(data), "--port", str(free_port())]
    second = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert second.returncode == 1
    assert "another `tastestream up`" in second.stderr
    assert "Traceback" not in second.stdout + second.stderr


def test_no_other_user_of_the_machine_can_read_the_state(up: Running) -> None:
    folders = [up.output.parent / "data" / name for name in ("redis", "logs", "pictures")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".aof" for path in files)
    assert [path for path in [*folders, *files] if path.stat().st_mode & 0o077] == []


def test_a_dead_ranker_degrades_the_answer_and_says_so(up: Running) -> None:
    _likes(up.http, "stranded", WORLD[:3])
    os.kill(up.child("vllm_server", "demo-ranker"), signal.SIGKILL)
    asked = {"user_id": "stranded", "candidates": [item.item_id for item in WORLD[3:9]], "deadline_ms": 20_000}

    def degraded() -> dict[str, Any] | None:
        answer: dict[str, Any] = up.http.post("/recommend", json=asked).raise_for_status().json()
        return answer if answer["degraded"] else None

    answer: dict[str, Any] = _wait(degraded)
    assert len(answer["items"]) == 6
    assert answer["degraded_reason"]
    assert answer["served_by"] in ("collaborative", "popular")
    ready = _wait(lambda: (found := up.http.get("/readyz")).json()["ranker"] == "down" and found)
    assert ready.status_code == 200
    _wait(lambda: "answers are degraded" in up.output.read_text())


def test_ctrl_c_stops_every_process(up: Running) -> None:
    children = Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children").read_text().split()
    assert len(children) >= 4
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(300) == 0
    assert "Traceback" not in up.output.read_text()
    _wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
