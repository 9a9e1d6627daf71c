"""Replays a dataset folder through a running service, over HTTP only, and measures what it recommends.

The catalogue is loaded, each replay user's history is posted in order, the folds are waited for, and
the service is asked to rank the user's held-out target among negatives (see `protocol`).
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from model_store.data.dataset import read_dataset
from model_store.evaluate.metrics import latency
from model_store.evaluate.protocol import EvaluationCase, Protocol, make_cases
from model_store.signals import normal
from service.client.client import Json, ServiceError, WireClient
from service.client.loading import load_catalogue, wait_for_descriptions
from service.client.outcome import Folding, ReplayReport, degraded_reasons, models_of, rank_methods

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total) as a stage goes on; stages come one after the other."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to replay and how hard to press.

    `stall_s` ends the wait for folds when nothing was folded for so long. `deadline_ms` is sent with each
    `/recommend`; None leaves the service its own. `run_id` goes before every user id, so that
    runs don't mix; None makes a new one.
    """

    protocol: Protocol = field(default_factory=Protocol)
    events_per_call: int = 50
    users_at_once: int = 16
    asks_at_once: int = 2
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
    progress: Progress,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> ReplayReport:
    """Replay the dataset folder `data` through the service at `url`.

    Raises:
        DatasetError: the folder lacks a file or a line is malformed.
        ProtocolError: nobody in the data can be asked about.
        ServiceError: the service can't be reached, refused a call, or stopped folding.
    """
    dataset = await asyncio.to_thread(read_dataset, data)
    cases = make_cases(dataset, options.protocol)
    run = replace(options, run_id=options.run_id or f"replay-{uuid.uuid4().hex[:8]}")
    async with WireClient(url, api_key=run.api_key, timeout_s=run.timeout_s, transport=transport) as client:
        loaded = await load_catalogue(client, dataset, progress)
        undescribed = 0
        if run.wait_for_descriptions:
            undescribed = await wait_for_descriptions(client, dataset, progress, stall_s=run.stall_s, poll_s=run.poll_s)
        folding = await _post_and_fold(client, cases, run, progress)
        answers = await _ask(client, cases, run, progress)
        if run.delete_users:
            await _each(
                cases, lambda case: client.delete_user(_user(case, run)), run.users_at_once, "deleting", progress
            )
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
    client: WireClient, cases: Sequence[EvaluationCase], run: ReplayOptions, progress: Progress
) -> Folding:
    started = time.monotonic()

    async def post(case: EvaluationCase) -> None:
        events = [_event(case, place, run) for place in range(len(case.history))]
        for start in range(0, len(events), run.events_per_call):
            await client.post_events(events[start : start + run.events_per_call])

    await _each(cases, post, run.users_at_once, "posting events", progress)
    versions = await _wait_for_folds(client, cases, run, progress)
    events = sum(len(case.history) for case in cases)
    return Folding(events, sum(versions), time.monotonic() - started, without_summary=versions.count(0))


async def _wait_for_folds(
    client: WireClient, cases: Sequence[EvaluationCase], run: ReplayOptions, progress: Progress
) -> list[int]:
    """Poll until no user has pending events; returns the users' summary versions.

    Raises:
        ServiceError: no pending event was folded for `stall_s`.
    """
    versions: dict[str, int] = {}
    waiting = {case.user_id: case for case in cases}
    least, moved = float("inf"), time.monotonic()
    while waiting:
        polled = list(waiting.values())
        users = await _each(polled, lambda case: client.user(_user(case, run)), run.users_at_once)
        for case, user in zip(polled, users, strict=True):
            if user["pending_events"] == 0:
                versions[case.user_id] = user["summary"]["version"] if user["summary"] else 0
                del waiting[case.user_id]
        progress("folding", len(versions), len(cases))
        pending = sum(user["pending_events"] for user in users)
        if pending < least:
            least, moved = pending, time.monotonic()
        if waiting and time.monotonic() - moved > run.stall_s:
            raise ServiceError(
                f"{len(waiting)} users still have {pending} events to fold, and none was folded for "
                f"{run.stall_s:.0f} s: are workers and the summarizer running?"
            )
        if waiting:
            await asyncio.sleep(run.poll_s)
    return list(versions.values())


async def _ask(
    client: WireClient, cases: Sequence[EvaluationCase], run: ReplayOptions, progress: Progress
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

    return await _each(cases, ask, run.asks_at_once, "recommending", progress)


async def _each(
    cases: Iterable[EvaluationCase],
    work: Callable[[EvaluationCase], Awaitable[T]],
    at_once: int,
    stage: str = "",
    progress: Progress | None = None,
) -> list[T]:
    """Do the work for every case, so many at a time; results in the cases' order. The first error stops all."""
    slots = asyncio.Semaphore(at_once)
    todo = list(cases)
    done = 0

    async def one(case: EvaluationCase) -> T:
        nonlocal done
        async with slots:
            result = await work(case)
        done += 1
        if progress is not None:
            progress(stage, done, len(todo))
        return result

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(case)) for case in todo]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


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
