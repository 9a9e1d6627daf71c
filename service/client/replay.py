"""Replay a dataset folder through a running service, over HTTP only, and measure what it recommends.

The catalogue is loaded, each test user's history is posted in order, and when it is folded the service is asked to rank
the user's held-out target among negatives (see `model_store.evaluate.protocol`).
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from model_store.data.dataset import read_dataset
from model_store.evaluate.metrics import latency
from model_store.evaluate.protocol import EvaluationCase, Protocol, make_cases
from model_store.progress import Report
from model_store.signals import normal
from service.client.catalogue import load_missing
from service.client.client import Json, ServiceClient, ServiceError
from service.client.for_each import for_each
from service.client.outcome import Folding, ReplayReport, degraded_reasons, models_of, rank_methods
from service.client.waiting import wait_for_descriptions, wait_for_folds


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to replay and how.

    Attributes:
        events_per_request: of one user.
        deadline_ms: sent with each `POST /recommend`; None leaves it to the service.
        stall_s: the wait for folds fails after this long without progress.
        run_id: the prefix of all user ids, which keeps runs apart; None makes a new one.
    """

    protocol: Protocol = field(default_factory=Protocol)
    events_per_request: int = 50
    max_concurrent_users: int = 16
    max_concurrent_recommends: int = 2
    deadline_ms: int | None = None
    stall_s: float = 120.0
    poll_s: float = 0.5
    wait_for_descriptions: bool = True
    delete_users: bool = False
    run_id: str | None = None
    api_key: str | None = None
    timeout_s: float = 60.0


async def replay(
    data: Path,
    url: str,
    options: ReplayOptions,
    report: Report,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> ReplayReport:
    """Replay the dataset folder `data` through the service at `url`.

    Raises:
        DatasetError: the folder lacks a file or a line is malformed.
        ProtocolError: the data has no user to ask about.
        ServiceError: the service can't be reached, refused a request, or stopped folding.
    """
    dataset = await asyncio.to_thread(read_dataset, data)
    cases = make_cases(dataset, options.protocol)
    run = replace(options, run_id=options.run_id or f"replay-{uuid.uuid4().hex[:8]}")
    async with ServiceClient(url, api_key=run.api_key, timeout_s=run.timeout_s, transport=transport) as client:
        loaded = await load_missing(client, data, report)
        undescribed = 0
        if run.wait_for_descriptions and dataset.has_pictures:
            undescribed = await wait_for_descriptions(
                client, dataset.items.keys(), report, stall_s=run.stall_s, poll_s=run.poll_s
            )
        folding = await _post_and_fold(client, cases, run, report)
        answers = await _ask(client, cases, run, report)
        if run.delete_users:
            users = [_user(case, run) for case in cases]
            await for_each(users, client.delete_user, run.max_concurrent_users, "deleting", report)
    ranked = rank_methods(dataset, cases, answers)
    return ReplayReport(
        data=data.name,
        run_id=run.run_id or "",
        protocol=run.protocol,
        models=models_of(answers),
        table=ranked.table,
        differences=ranked.differences,
        degraded=degraded_reasons(answers),
        folding=folding,
        event_latency=latency(client.event_seconds),
        recommend_latency=latency(client.recommend_seconds),
        items_loaded=loaded,
        undescribed=undescribed,
    )


async def _post_and_fold(
    client: ServiceClient, cases: Sequence[EvaluationCase], run: ReplayOptions, report: Report
) -> Folding:
    started = time.monotonic()

    async def post(case: EvaluationCase) -> None:
        events = [_event(case, place, run) for place in range(len(case.history))]
        for start in range(0, len(events), run.events_per_request):
            await client.post_events(events[start : start + run.events_per_request])

    await for_each(cases, post, run.max_concurrent_users, "posting events", report)
    user_ids = [_user(case, run) for case in cases]
    users = await wait_for_folds(client, user_ids, report, stall_s=run.stall_s, poll_s=run.poll_s)
    versions = [user["summary"]["version"] if user["summary"] else 0 for user in users]
    events = sum(len(case.history) for case in cases)
    return Folding(events, sum(versions), time.monotonic() - started, without_summary=versions.count(0))


async def _ask(
    client: ServiceClient, cases: Sequence[EvaluationCase], run: ReplayOptions, report: Report
) -> list[Json]:
    async def ask(case: EvaluationCase) -> Json:
        body: dict[str, Any] = {
            "user_id": _user(case, run),
            "candidates": list(case.candidates),
            "k": len(case.candidates),
            "exclude_seen": False,
            "explain": True,
        }
        if run.deadline_ms is not None:
            body["deadline_ms"] = run.deadline_ms
        answer = await client.recommend(body)
        if {item["item_id"] for item in answer["items"]} != set(case.candidates):
            skipped = [f"{skip['item_id']} ({skip['reason']})" for skip in answer.get("skipped", ())]
            raise ServiceError(f"the service did not rank every candidate; skipped: {', '.join(skipped) or 'none'}")
        return answer

    return await for_each(cases, ask, run.max_concurrent_recommends, "recommending", report)


def _event(case: EvaluationCase, place: int, run: ReplayOptions) -> Json:
    event = case.history[place]
    sent: Json = {
        "event_id": f"{run.run_id}:{case.user_id}:{place}",
        "user_id": _user(case, run),
        "item_id": event.item_id,
        "type": normal(event.type),
        "timestamp": event.timestamp,
    }
    return sent if event.value is None else {**sent, "value": event.value}


def _user(case: EvaluationCase, run: ReplayOptions) -> str:
    return f"{run.run_id}:{case.user_id}"
