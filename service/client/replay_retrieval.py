"""Replay the cases of `models evaluate-retrieval` through a running service, which finds the candidates itself.

Everything goes over HTTP. The catalogue is loaded with the hidden items last, so that they are its newest ones. Then,
for one kind of case after the other, each user's visible history is posted to a user of its own, and the service is
asked for recommendations without candidates. A kind's users are deleted before the next kind: else, the likes of a
user's later case would speak for the target of the earlier one.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from model_store.data.dataset import Dataset, read_dataset
from model_store.evaluate.retrieval.cases import RetrievalCase, RetrievalProtocol, make_retrieval_cases
from model_store.for_each import for_each
from model_store.progress import Report
from service.client.catalogue import load_missing
from service.client.client import UNPROCESSABLE, Json, ServiceClient, ServiceError
from service.client.histories import (
    DEADLINE_MS,
    count_undescribed,
    delete_users,
    new_run_id,
    post_and_fold,
    post_histories,
    service_user,
)
from service.client.report import Folding
from service.client.retrieval_report import Answer, KindReport, RetrievalReplay, kind_report

MAX_CONCURRENT_CASES = 2
MAX_EXCLUDED = 1000
"""The most items that a request may exclude."""
SIZES = (10, 50, 100)
"""How many items are asked for; 100 is the most that a service answers with by default."""


async def replay_retrieval(
    data: Path,
    url: str,
    protocol: RetrievalProtocol,
    report: Report,
    *,
    sizes: Sequence[int] = SIZES,
    wait: bool = True,
    delete: bool = False,
    api_key: str | None = None,
    run_id: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> RetrievalReplay:
    """Replay the dataset folder `data` through the service at `url`.

    Args:
        sizes: each user is asked for so many items, one request for each size.
        wait: ask only when all pictures are described and all events are folded into summaries.
        delete: remove the replayed users from the service.
        run_id: the prefix of all user ids, which keeps runs apart; by default, a new one.

    Raises:
        DatasetError: the folder lacks a file or a line is malformed.
        ProtocolError: the data has no user to evaluate.
        ServiceError: the service can't be reached, refused a request, or stopped folding.
    """
    dataset = await asyncio.to_thread(read_dataset, data)
    drawn = make_retrieval_cases(dataset, protocol)
    run_id = run_id or new_run_id()
    kinds: list[KindReport] = []
    async with ServiceClient(url, api_key=api_key, transport=transport) as client:
        await _require_sizes(client, run_id, max(sizes))
        await load_missing(client, data, report, newest=drawn.hidden)
        undescribed = await count_undescribed(client, dataset, report, wait=wait)
        for kind, cases in (("warm", drawn.warm), ("cold", drawn.cold)):
            if not cases:
                continue
            run = _Run(client, dataset, f"{run_id}:{kind}", sizes, _named(report, kind))
            folding = await run.post(cases, wait=wait)
            answers = await run.ask(cases)
            if delete:
                await run.delete(cases)
            kinds.append(kind_report(kind, cases, answers, drawn.hidden, folding, run.partly_excluded(cases)))
    return RetrievalReplay(data.name, protocol, len(dataset.items), len(drawn.hidden), kinds, undescribed)


class _Run:
    """The replay of the cases of one kind."""

    def __init__(
        self, client: ServiceClient, dataset: Dataset, run_id: str, sizes: Sequence[int], report: Report
    ) -> None:
        self._client, self._dataset, self._run_id = client, dataset, run_id
        self._sizes, self._report = sizes, report

    async def post(self, cases: Sequence[RetrievalCase], *, wait: bool) -> Folding | None:
        """Post the histories; how they were folded, if that was waited for."""
        if wait:
            return await post_and_fold(self._client, cases, self._run_id, self._report)
        await post_histories(self._client, cases, self._run_id, self._report)
        return None

    async def ask(self, cases: Sequence[RetrievalCase]) -> list[dict[int, Answer]]:
        """The answers to each case, by how many items were asked for."""
        return await for_each(cases, self._ask, MAX_CONCURRENT_CASES, "recommending", self._report)

    async def delete(self, cases: Sequence[RetrievalCase]) -> None:
        await delete_users(self._client, cases, self._run_id, self._report)

    def partly_excluded(self, cases: Sequence[RetrievalCase]) -> int:
        """How many users met more items than a request may exclude."""
        return sum(len(self._met(case)) > MAX_EXCLUDED for case in cases)

    async def _ask(self, case: RetrievalCase) -> dict[int, Answer]:
        """Ask in the order of the sizes: each request finds the scores of the one before in the service's cache."""
        answers = {}
        for size in sorted(self._sizes):
            started = time.monotonic()
            answer = await self._client.recommend(self._body(case, size))
            answers[size] = _answer(answer, case, time.monotonic() - started)
        return answers

    def _body(self, case: RetrievalCase, size: int) -> Json:
        return {
            "user_id": service_user(case, self._run_id),
            "k": size,
            "exclude_seen": True,
            "exclude_item_ids": self._met(case)[:MAX_EXCLUDED],
            "explain": True,
            "deadline_ms": DEADLINE_MS,
        }

    def _met(self, case: RetrievalCase) -> list[str]:
        """What the user met before the target and the service was not told, the latest first."""
        posted = {event.item_id for event in case.history}
        met = dict.fromkeys(event.item_id for event in reversed(self._dataset.histories[case.user_id]))
        return [item for item in met if item in case.seen and item not in posted]


def _answer(answer: Json, case: RetrievalCase, seconds: float) -> Answer:
    """The answer without the items that the user had met."""
    fresh = [item for item in answer["items"] if item["item_id"] not in case.seen]
    return Answer(
        sources={item["item_id"]: item["source"] for item in fresh},
        met=len(answer["items"]) - len(fresh),
        model=answer["model"],
        served_by=answer["served_by"],
        degraded=str(answer["degraded_reason"]) if answer["degraded"] else None,
        seconds=seconds,
    )


async def _require_sizes(client: ServiceClient, user_id: str, most: int) -> None:
    """Ask for that many of no candidates, before minutes of work.

    Raises:
        ServiceError: the service does not answer with so many items.
    """
    try:
        await client.recommend({"user_id": user_id, "candidates": [], "k": most})
    except ServiceError as error:
        if error.status != UNPROCESSABLE:
            raise
        raise ServiceError(
            f"the service at {client.url} does not answer with {most} items ({error.problem.get('detail')}): ask for "
            "fewer with --k, or raise TASTESTREAM_LIMITS__MAX_K of its gateways"
        ) from None


def _named(report: Report, kind: str) -> Report:
    return lambda stage, done, note: report(f"{kind}: {stage}", done, note)
