"""Replay a dataset folder through a running service, over HTTP only, and measure what it recommends.

The catalogue is loaded and each test user's history is posted in order. Once it is folded, the service ranks the user's
held-out target among negatives (see `model_store.evaluate.protocol`).
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from model_store.data.dataset import Dataset, read_dataset
from model_store.evaluate.baselines import EASE, ITEM_KNN, POPULARITY, baseline_scores
from model_store.evaluate.compare import Difference, Scores, Table, difference, evaluate_scores
from model_store.evaluate.metrics import latency
from model_store.evaluate.protocol import EvaluationCase, Protocol, make_cases
from model_store.for_each import for_each
from model_store.progress import Report
from model_store.signals import normal
from service.client.catalogue import load_missing
from service.client.client import Json, ServiceClient, ServiceError
from service.client.report import Folding, ReplayReport
from service.client.waiting import wait_for_descriptions, wait_for_folds

EVENTS_PER_REQUEST = 50
MAX_CONCURRENT_USERS, MAX_CONCURRENT_RECOMMENDS = 16, 2
DEADLINE_MS = 30_000
STALL_S, POLL_S = 120.0, 0.5
"""How long folding and describing may make no progress, and how often to look."""
SERVICE, MLLM, COLLABORATIVE = "Tastestream (blend)", "MLLM alone", "collaborative alone"
PAIRS = ((SERVICE, POPULARITY), (SERVICE, ITEM_KNN), (SERVICE, EASE), (MLLM, POPULARITY), (SERVICE, COLLABORATIVE))


async def replay(
    data: Path,
    url: str,
    protocol: Protocol,
    report: Report,
    *,
    delete_users: bool = False,
    api_key: str | None = None,
    run_id: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> ReplayReport:
    """Replay the dataset folder `data` through the service at `url`.

    Args:
        delete_users: remove the replayed users from the service at the end.
        run_id: the prefix of all user ids, which keeps runs apart; by default, a new one.

    Raises:
        DatasetError: the folder lacks a file or a line is malformed.
        ProtocolError: the data has no user to evaluate.
        ServiceError: the service can't be reached, refused a request, or stopped folding.
    """
    dataset = await asyncio.to_thread(read_dataset, data)
    cases = make_cases(dataset, protocol)
    run_id = run_id or f"replay-{uuid.uuid4().hex[:8]}"
    async with ServiceClient(url, api_key=api_key, transport=transport) as client:
        await load_missing(client, data, report)
        undescribed = 0
        if dataset.has_pictures:
            undescribed = await wait_for_descriptions(
                client, dataset.items.keys(), report, stall_s=STALL_S, poll_s=POLL_S
            )
        folding = await _post_and_fold(client, cases, run_id, report)
        answers = await _ask(client, cases, run_id, report)
        if delete_users:
            users = [_user(case, run_id) for case in cases]
            await for_each(users, client.delete_user, MAX_CONCURRENT_USERS, "deleting", report)
    table, differences = rank_methods(dataset, cases, answers)
    return ReplayReport(
        data=data.name,
        protocol=protocol,
        models=tuple(sorted({answer["model"] for answer in answers if answer["model"]})),
        table=table,
        differences=differences,
        degraded=Counter(str(answer["degraded_reason"]) for answer in answers if answer["degraded"]),
        folding=folding,
        event_latency=latency(client.seconds["/events"]),
        recommend_latency=latency(client.seconds["/recommend"]),
        undescribed=undescribed,
    )


def rank_methods(
    dataset: Dataset, cases: Sequence[EvaluationCase], answers: Sequence[Json]
) -> tuple[Table, tuple[Difference, ...]]:
    """Compare the service's answers to `cases`, requested with `explain`, with the baselines."""
    scores: dict[str, Scores] = {
        SERVICE: _column(cases, answers, lambda item: -item["rank"]),
        MLLM: _column(cases, answers, lambda item: item["components"]["mllm"]),
        COLLABORATIVE: _column(cases, answers, lambda item: item["components"]["collaborative"]),
        **baseline_scores(dataset, cases),
    }
    differences = tuple(difference(cases, scores, method, baseline) for method, baseline in PAIRS)
    return evaluate_scores(cases, scores), differences


async def _post_and_fold(
    client: ServiceClient, cases: Sequence[EvaluationCase], run_id: str, report: Report
) -> Folding:
    started = time.monotonic()

    async def post(case: EvaluationCase) -> None:
        events = [_event(case, place, run_id) for place in range(len(case.history))]
        for start in range(0, len(events), EVENTS_PER_REQUEST):
            await client.post_events(events[start : start + EVENTS_PER_REQUEST])

    await for_each(cases, post, MAX_CONCURRENT_USERS, "posting events", report)
    user_ids = [_user(case, run_id) for case in cases]
    users = await wait_for_folds(client, user_ids, report, stall_s=STALL_S, poll_s=POLL_S)
    versions = [user["summary"]["version"] if user["summary"] else 0 for user in users]
    events = sum(len(case.history) for case in cases)
    return Folding(events, sum(versions), time.monotonic() - started, without_summary=versions.count(0))


async def _ask(client: ServiceClient, cases: Sequence[EvaluationCase], run_id: str, report: Report) -> list[Json]:
    async def ask(case: EvaluationCase) -> Json:
        body = {
            "user_id": _user(case, run_id),
            "candidates": list(case.candidates),
            "k": len(case.candidates),
            "exclude_seen": False,
            "explain": True,
            "deadline_ms": DEADLINE_MS,
        }
        answer = await client.recommend(body)
        if {item["item_id"] for item in answer["items"]} != set(case.candidates):
            skipped = [f"{skip['item_id']} ({skip['reason']})" for skip in answer.get("skipped", ())]
            raise ServiceError(f"the service did not rank every candidate; skipped: {', '.join(skipped) or 'none'}")
        return answer

    return await for_each(cases, ask, MAX_CONCURRENT_RECOMMENDS, "recommending", report)


def _event(case: EvaluationCase, place: int, run_id: str) -> Json:
    event = case.history[place]
    sent: Json = {
        "event_id": f"{run_id}:{case.user_id}:{place}",
        "user_id": _user(case, run_id),
        "item_id": event.item_id,
        "type": normal(event.type),
        "timestamp": event.timestamp,
    }
    return sent if event.value is None else {**sent, "value": event.value}


def _user(case: EvaluationCase, run_id: str) -> str:
    return f"{run_id}:{case.user_id}"


def _column(
    cases: Sequence[EvaluationCase], answers: Sequence[Json], value: Callable[[Json], float | None]
) -> list[list[float]]:
    """One kind of score in the order of the cases. A case that lacks a score counts as a tie."""
    rows: list[list[float]] = []
    for case, answer in zip(cases, answers, strict=True):
        by_id = {item["item_id"]: value(item) for item in answer["items"]}
        row = [by_id[candidate] for candidate in case.candidates]
        known = [score for score in row if score is not None]
        rows.append(known if len(known) == len(row) else [0.0] * len(row))
    return rows
