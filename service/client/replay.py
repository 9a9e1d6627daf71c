"""Replay a dataset folder through a running service, over HTTP only, and measure what it recommends.

The catalogue is loaded and each test user's history is posted in order. Once it is folded, the service ranks the user's
held-out target among negatives (see `model_store.evaluate.protocol`).
"""

import asyncio
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
from service.client.catalogue import load_missing
from service.client.client import Json, ServiceClient, ServiceError
from service.client.histories import (
    DEADLINE_MS,
    count_undescribed,
    delete_users,
    new_run_id,
    post_and_fold,
    service_user,
)
from service.client.report import ReplayReport

MAX_CONCURRENT_RECOMMENDS = 2
SERVICE, MLLM, COLLABORATIVE = "Tastestream (blend)", "MLLM alone", "collaborative alone"
PAIRS = ((SERVICE, POPULARITY), (SERVICE, ITEM_KNN), (SERVICE, EASE), (MLLM, POPULARITY), (SERVICE, COLLABORATIVE))


async def replay(
    data: Path,
    url: str,
    protocol: Protocol,
    report: Report,
    *,
    delete: bool = False,
    api_key: str | None = None,
    run_id: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> ReplayReport:
    """Replay the dataset folder `data` through the service at `url`.

    Args:
        delete: remove the replayed users from the service at the end.
        run_id: the prefix of all user ids, which keeps runs apart; by default, a new one.

    Raises:
        DatasetError: the folder lacks a file or a line is malformed.
        ProtocolError: the data has no user to evaluate.
        ServiceError: the service can't be reached, refused a request, or stopped folding.
    """
    dataset = await asyncio.to_thread(read_dataset, data)
    cases = make_cases(dataset, protocol)
    run_id = run_id or new_run_id()
    async with ServiceClient(url, api_key=api_key, transport=transport) as client:
        await load_missing(client, data, report)
        undescribed = await count_undescribed(client, dataset, report)
        folding = await post_and_fold(client, cases, run_id, report)
        answers = await _ask(client, cases, run_id, report)
        if delete:
            await delete_users(client, cases, run_id, report)
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


async def _ask(client: ServiceClient, cases: Sequence[EvaluationCase], run_id: str, report: Report) -> list[Json]:
    async def ask(case: EvaluationCase) -> Json:
        body = {
            "user_id": service_user(case, run_id),
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
