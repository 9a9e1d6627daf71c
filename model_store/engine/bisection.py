"""Finds the candidates that make a server reject a call, and scores the others."""

from collections.abc import Awaitable, Callable, Sequence

from cachetools import TTLCache

from model_store.engine.chat import Part
from model_store.engine.errors import EngineRejected

Candidate = tuple[str, list[Part]]
"""The text of a candidate, and its picture from `picture_parts`."""
MAX_BISECTION_CALLS = 32
"""Finding one rejected candidate among 500 takes at most 19 calls, each further one at most 18."""
_REMEMBERED = 1000
_REMEMBERED_S = 600.0


class Bisection:
    """Splits rejected groups in halves, the largest first, which scores most candidates early.

    `scores` holds the scores found so far, also when `run` is cancelled or fails.

    Args:
        ask: scores candidates in one call.
        candidates: those that were rejected together.
    """

    def __init__(self, ask: Callable[[Sequence[Candidate]], Awaitable[list[float]]], candidates: Sequence[Candidate]):
        self.scores: list[float | None] = [None] * len(candidates)
        self.rejected: list[Candidate] = []
        self._ask = ask
        self._candidates = list(candidates)
        self._pending = [list(range(len(candidates)))]
        self._calls = MAX_BISECTION_CALLS

    async def run(self) -> None:
        """
        Raises:
            EngineError: a call failed, but was not rejected.
        """
        while self._pending and self._calls:
            self._pending.sort(key=len)
            group = self._pending.pop()
            if len(group) > 1:
                half = len(group) // 2
                await self._try(group[:half])
                await self._try(group[half:])
            else:
                await self._try_without_picture(group)

    async def _try_without_picture(self, group: list[int]) -> None:
        text, picture = self._candidates[group[0]]
        self.rejected.append((text, picture))
        if picture:
            self._candidates[group[0]] = text, []
            await self._try(group)

    async def _try(self, group: list[int]) -> None:
        if not self._calls:
            return
        self._calls -= 1
        try:
            scores = await self._ask([self._candidates[index] for index in group])
        except EngineRejected:
            self._pending.append(group)
        else:
            for index, score in zip(group, scores, strict=True):
                self.scores[index] = score


class RejectedCandidates:
    """Recently rejected candidates, which later calls leave out."""

    def __init__(self) -> None:
        self._rejected: TTLCache[int, bool] = TTLCache(_REMEMBERED, _REMEMBERED_S)

    def remember(self, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            self._rejected[_key(candidate)] = True

    def acceptable(self, candidate: Candidate) -> Candidate | None:
        """The candidate, without its picture if only that was rejected, or None if its text was."""
        if not self._rejected:
            return candidate
        text, picture = candidate
        return next((form for form in ((text, picture), (text, [])) if _key(form) not in self._rejected), None)


def _key(candidate: Candidate) -> int:
    text, picture = candidate
    return hash((text, *(part["image_url"]["url"] for part in picture)))
