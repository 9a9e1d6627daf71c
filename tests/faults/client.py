"""A caller that sends events until they are acknowledged, and keeps the journal of what was."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

PATIENCE_S = 120.0
TIMESTAMP = "2025-06-15T12:00:00Z"
"""All events have the same time, so that the order inside a block is that of their acceptance."""


@dataclass
class Story:
    """What the caller knows of one user's events, by their ids."""

    acknowledged: list[str] = field(default_factory=list)
    """In the order of their acknowledgement, since the last deletion."""
    unsure: set[str] = field(default_factory=set)
    """Sent and not acknowledged, or deleted while a try of them was still on its way: may be there, once."""
    deleted: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    """One try of them timed out, so that it may still reach the service."""


@dataclass
class Client:
    """Sends to several gateways in turn. One request at a time per user, so that the order of acceptance is known."""

    urls: Sequence[str]
    timeout_s: float = 1.0
    stories: dict[str, Story] = field(default_factory=dict)
    refusal: str = ""
    """The last answer that was no acknowledgement."""

    async def __aenter__(self) -> "Client":
        self._http = httpx.AsyncClient(timeout=self.timeout_s, trust_env=False)
        self._turns = itertools.cycle(self.urls)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def story(self, user: str) -> Story:
        return self.stories.setdefault(user, Story())

    async def send(self, ids: Sequence[str]) -> dict[str, Any]:
        """Send events, again and again, until all of them are accepted; returns the answer that said so."""
        async with self._patience():
            while (answer := await self._try(ids)) is None or answer.get("rejected"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for one in ids:
            story = self.story(user_of(one))
            story.acknowledged.append(one)
            story.unsure.discard(one)
        return answer

    async def send_once(self, ids: Sequence[str]) -> bool:
        """Send events and never again, whatever comes of it; whether they were acknowledged."""
        for one in ids:
            self.story(user_of(one)).unsure.add(one)
        answer = await self._try(ids)
        if answer is None or answer.get("rejected"):
            return False
        for one in ids:
            self.story(user_of(one)).unsure.discard(one)
            self.story(user_of(one)).acknowledged.append(one)
        return True

    async def delete(self, user: str) -> None:
        """Delete the user. Waits for the answer as long as it takes: a second try must not overtake the first."""
        async with self._patience():
            while not await self._delete(user):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        story = self.story(user)
        story.deleted |= {*story.acknowledged, *story.unsure} - story.late
        story.unsure |= story.late & set(story.acknowledged)
        story.unsure -= story.deleted
        story.acknowledged.clear()

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield
        except TimeoutError:
            raise AssertionError(f"no acknowledgement within {PATIENCE_S} s; last: {self.refusal}") from None

    async def _delete(self, user: str) -> bool:
        try:
            answer = await self._http.delete(f"{next(self._turns)}/users/{user}", timeout=PATIENCE_S)
        except httpx.TransportError as error:
            self.refusal = repr(error)
            return False
        assert answer.status_code in {204, 429, 503}, answer.text
        self.refusal = answer.text
        return answer.status_code == 204

    async def _try(self, ids: Sequence[str]) -> dict[str, Any] | None:
        """One request; None when it was not acknowledged."""
        try:
            answer = await self._http.post(f"{next(self._turns)}/events", json=[body(one) for one in ids])
        except httpx.TransportError as error:
            self.refusal = repr(error)
            if isinstance(error, httpx.TimeoutException):
                for one in ids:
                    self.story(user_of(one)).late.add(one)
            return None
        if answer.status_code == 202:
            return dict(answer.json())
        assert answer.status_code in {429, 503}, answer.text
        self.refusal = answer.text
        return None


def user_of(event_id: str) -> str:
    return event_id.partition("-")[0]


def numbered(user: str, numbers: Sequence[int] | range) -> list[str]:
    """Event ids, which are also their items' ids and titles."""
    return [f"{user}-{number}" for number in numbers]


def body(event_id: str, **more: Any) -> dict[str, Any]:
    user = user_of(event_id)
    return {"event_id": event_id, "user_id": user, "item_id": event_id, "timestamp": TIMESTAMP, **more}
