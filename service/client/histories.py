"""What all replays begin with: users' histories go into the service as events, and workers fold them."""

import time
import uuid
from collections.abc import Sequence
from typing import Protocol

from model_store.data.dataset import Dataset, Interaction
from model_store.for_each import for_each
from model_store.progress import Report
from model_store.signals import normal
from service.client.client import Json, ServiceClient
from service.client.report import Folding
from service.client.waiting import wait_for_descriptions, wait_for_folds

EVENTS_PER_REQUEST = 50
MAX_CONCURRENT_USERS = 16
DEADLINE_MS = 30_000
"""Of a request for recommendations."""
STALL_S, POLL_S = 120.0, 0.5
"""How long folding and describing may make no progress, and how often to look."""


class Past(Protocol):
    """A user of a dataset up to a moment. `history`: the events to post, oldest first."""

    @property
    def user_id(self) -> str: ...
    @property
    def history(self) -> Sequence[Interaction]: ...


def new_run_id() -> str:
    """A prefix of user ids that keeps a run apart from others."""
    return f"replay-{uuid.uuid4().hex[:8]}"


def service_user(case: Past, run_id: str) -> str:
    """The user's id in the service."""
    return f"{run_id}:{case.user_id}"


async def count_undescribed(client: ServiceClient, dataset: Dataset, report: Report, *, wait: bool = True) -> int:
    """How many pictures of a loaded catalogue are not described, after waiting for it as long as it goes on."""
    if not dataset.has_pictures:
        return 0
    stall_s = STALL_S if wait else 0.0
    return await wait_for_descriptions(client, dataset.items.keys(), report, stall_s=stall_s, poll_s=POLL_S)


async def post_histories(client: ServiceClient, cases: Sequence[Past], run_id: str, report: Report) -> None:
    """Post every event, each user's in order.

    Raises:
        ServiceError: an event was rejected, or a backlog stayed full.
    """

    async def post(case: Past) -> None:
        events = [_event(case, place, run_id) for place in range(len(case.history))]
        for start in range(0, len(events), EVENTS_PER_REQUEST):
            await client.post_events(events[start : start + EVENTS_PER_REQUEST])

    await for_each(cases, post, MAX_CONCURRENT_USERS, "posting events", report)


async def post_and_fold(client: ServiceClient, cases: Sequence[Past], run_id: str, report: Report) -> Folding:
    """Post every event and wait until all are folded.

    Raises:
        ServiceError: as `post_histories`, or folding stopped.
    """
    started = time.monotonic()
    await post_histories(client, cases, run_id, report)
    user_ids = [service_user(case, run_id) for case in cases]
    users = await wait_for_folds(client, user_ids, report, stall_s=STALL_S, poll_s=POLL_S)
    versions = [user["summary"]["version"] if user["summary"] else 0 for user in users]
    events = sum(len(case.history) for case in cases)
    return Folding(events, sum(versions), time.monotonic() - started, without_summary=versions.count(0))


async def delete_users(client: ServiceClient, cases: Sequence[Past], run_id: str, report: Report) -> None:
    """Remove the users from the service."""
    users = [service_user(case, run_id) for case in cases]
    await for_each(users, client.delete_user, MAX_CONCURRENT_USERS, "deleting", report)


def _event(case: Past, place: int, run_id: str) -> Json:
    event = case.history[place]
    sent: Json = {
        "event_id": f"{run_id}:{case.user_id}:{place}",
        "user_id": service_user(case, run_id),
        "item_id": event.item_id,
        "type": normal(event.type),
        "timestamp": event.timestamp,
    }
    return sent if event.value is None else {**sent, "value": event.value}
