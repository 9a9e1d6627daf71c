"""Wait for what the workers of a service do after the answer."""

import asyncio
import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from model_store.for_each import for_each
from model_store.progress import Report
from service.client.client import Json, ServiceClient, ServiceError

MAX_CONCURRENT_REQUESTS = 16


async def wait_for_folds(
    client: ServiceClient, user_ids: Iterable[str], report: Report, *, stall_s: float, poll_s: float
) -> list[Json]:
    """Wait until no user has pending events, and return the users as `GET /users/{id}` shows them.

    Raises:
        ServiceError: no pending event was folded for `stall_s`.
    """
    users: dict[str, Json] = {}
    waiting = list(user_ids)
    fewest, changed = float("inf"), time.monotonic()
    while True:
        polled = await for_each(waiting, client.user, MAX_CONCURRENT_REQUESTS)
        users |= zip(waiting, polled, strict=True)
        pending = sum(user["pending_events"] for user in polled)
        waiting = [user_id for user_id, user in zip(waiting, polled, strict=True) if user["pending_events"]]
        report("folding", 1 - len(waiting) / max(1, len(users)), f"{len(users) - len(waiting)} of {len(users)}")
        if not waiting:
            return list(users.values())
        if pending < fewest:
            fewest, changed = pending, time.monotonic()
        if time.monotonic() - changed > stall_s:
            raise ServiceError(
                f"{len(waiting)} users still have {pending} events to fold, and none was folded for "
                f"{stall_s:.0f} s: are workers and the summarizer running?"
            )
        await asyncio.sleep(poll_s)


async def wait_for_descriptions(
    client: ServiceClient, item_ids: AbstractSet[str], report: Report, *, stall_s: float, poll_s: float
) -> int:
    """Wait until the pictures of these items are described, or none was described for `stall_s`.

    Returns:
        How many are not described.
    """
    fewest, changed = float("inf"), time.monotonic()
    while True:
        pictured = undescribed = 0
        async for item in client.items():
            if item["item_id"] in item_ids and item["picture"]:
                pictured += 1
                undescribed += not item["summary"]
        if not pictured:
            return 0
        report("describing pictures", 1 - undescribed / pictured, f"{pictured - undescribed} of {pictured}")
        if undescribed < fewest:
            fewest, changed = undescribed, time.monotonic()
        if not undescribed or time.monotonic() - changed > stall_s:
            return undescribed
        await asyncio.sleep(poll_s)
