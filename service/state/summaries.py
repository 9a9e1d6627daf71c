"""Claiming users and committing their summaries (invariants I2, I3, I4, I7)."""

import time
from collections.abc import Sequence
from typing import Any, Literal

from service.state import encoding, votes
from service.state.keys import Keys
from service.state.queue import Queue
from service.state.records import Claim, Summary
from service.state.redis.client import Argument
from service.state.redis.scripts import Call, Scripts

Buried = Literal["buried", "lost", "full"]
_BURIED: dict[int, Buried] = {1: "buried", 0: "lost", -1: "full"}


class Work:
    def __init__(self, scripts: Scripts, keys: Keys, summary_chars: int, history: int, votes: int) -> None:
        self._scripts = scripts
        self._keys = keys
        self._summary_chars = summary_chars
        self._history = history
        self._votes = votes
        self._queue = Queue(scripts, "claim", keys.users)

    async def claim(self, limit: int) -> list[Claim]:
        """Lease at most `limit` due users to the caller, for `lease_s`."""
        return [_claim(found) for found in await self._queue.claim(limit)]

    async def commit(
        self, claim: Claim, text: str, model: str, prompt: str, folded: int, liked: Sequence[str] = ()
    ) -> bool:
        """Write `text` as the next version and remove the first `folded` events of the claim.

        `liked` are the items that are counted for the user from now on. Ends the lease.
        False if the claim was lost: nothing is written then.

        Raises:
            ValueError: no event was folded, or `text` is longer than `summary_chars`.
        """
        if len(text) > self._summary_chars:
            raise ValueError(f"a summary of {len(text)} characters, at most {self._summary_chars} are stored")
        keys = self._keys.user(claim.user_id)
        last = encoding.json_text(_last(claim, folded))
        now_ms = self._scripts.now() or time.time_ns() // 1_000_000
        old = claim.base
        summary = Summary(
            text=text,
            version=claim.summary.version + 1 if claim.summary else 1,
            updated_at_ms=now_ms,
            model=model,
            prompt=prompt,
            events=(old.events if old else 0) + folded,
            event_ids=tuple(event.event_id for event in claim.pending[:folded]),
            earlier=old.history[: self._history - 1] if old else (),
            votes=votes.counted(claim.votes, liked, self._votes),
        )
        names = (keys.due, keys.pending, keys.work, keys.summary, keys.recents, keys.seen, keys.backlog)
        body = encoding.summary_body(summary)
        return bool(await self._change("commit", names, claim, summary.version - 1, folded, last, body))

    async def extend(self, claims: Sequence[Claim]) -> list[bool]:
        """Renew the leases of `claims` in one round trip; False for each that is lost."""
        calls = []
        for claim in claims:
            keys = self._keys.user(claim.user_id)
            calls.append(Call("extend", (keys.due, keys.work), (self._scripts.now(), claim.user_id, claim.token)))
        return [bool(result) for result in await self._scripts.run(calls)]

    async def fail(self, claim: Claim, retry_in_s: float) -> bool:
        """Count a failed attempt; the user is due again in `retry_in_s`, whatever comes in meanwhile."""
        return await self._give_back(claim, retry_in_s, failed=True)

    async def release(self, claim: Claim, retry_in_s: float = 0.0) -> bool:
        """Give the claim back without counting an attempt."""
        return await self._give_back(claim, retry_in_s, failed=False)

    async def bury(self, claim: Claim, reason: str, count: int) -> Buried:
        """Move the first `count` events of the claim to the dead letters; the summary stays.

        `full`: no more dead letters may be kept; the claim is as it was.
        """
        keys = self._keys.user(claim.user_id)
        names = (
            *(keys.due, keys.pending, keys.work, keys.dead, keys.letters, keys.backlog),
            *(keys.recents, keys.seen),
        )
        last = encoding.json_text(_last(claim, count))
        return _BURIED[await self._change("bury", names, claim, reason, count, last)]

    async def _give_back(self, claim: Claim, retry_in_s: float, *, failed: bool) -> bool:
        keys = self._keys.user(claim.user_id)
        names = (keys.due, keys.work, keys.pending)
        return bool(await self._change("give_back", names, claim, round(retry_in_s * 1000), int(failed)))

    async def _change(self, script: str, names: tuple[str, ...], claim: Claim, *arguments: Argument) -> int:
        call = Call(script, names, (self._scripts.now(), claim.user_id, claim.token, *arguments))
        (result,) = await self._scripts.run([call])
        return int(result)


def _claim(found: list[Any]) -> Claim:
    user, token, summary, attempts, pending, recents = found
    user_id = user.decode()
    return Claim(
        user_id=user_id,
        token=int(token),
        summary=encoding.summary(summary),
        pending=tuple(encoding.pending_event(user_id, entry) for entry in pending),
        attempts=attempts,
        recents=encoding.recents_events(user_id, recents),
    )


def _last(claim: Claim, count: int) -> str:
    if not 1 <= count <= len(claim.pending):
        raise ValueError(f"{count} of {len(claim.pending)} claimed events")
    return claim.pending[count - 1].event_id
