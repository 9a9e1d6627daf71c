"""Scoring the others when a server refuses a call because of one candidate."""

from collections.abc import Awaitable, Callable, Sequence

from cachetools import TTLCache

from model_store.engine.content import Part
from model_store.engine.errors import EngineRejected

Candidate = tuple[str, list[Part]]
"""The text of a candidate, and what `picture_parts` made of its picture."""
MOST_SEARCH_CALLS = 32
"""Calls to find refused candidates: one of 500 takes at most 19, each further one at most 18."""
_REMEMBERED = 1000
_REMEMBERED_S = 600.0


class Search:
    """Finds the candidates that a server refuses, by halves; the largest first, so that most are scored early.

    `scores` holds what was found so far, also when `run` is cancelled or fails.

    Args:
        ask: scores some candidates in one call.
        candidates: those that were refused together.
    """

    def __init__(self, ask: Callable[[Sequence[Candidate]], Awaitable[list[float]]], candidates: Sequence[Candidate]):
        self.scores: list[float | None] = [None] * len(candidates)
        self.refused: list[Candidate] = []
        self._ask = ask
        self._candidates = list(candidates)
        self._pending = [list(range(len(candidates)))]
        self._calls = MOST_SEARCH_CALLS

    async def run(self) -> None:
        """
        Raises:
            EngineError: other than a refusal.
        """
        while self._pending and self._calls:
            self._pending.sort(key=len)
            group = self._pending.pop()
            if len(group) > 1:
                half = len(group) // 2
                await self._try(group[:half])
                await self._try(group[half:])
            else:
                await self._without_picture(group)

    async def _without_picture(self, group: list[int]) -> None:
        """One that is refused alone is asked about once more, by its words."""
        text, picture = self._candidates[group[0]]
        self.refused.append((text, picture))
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


class Refused:
    """Candidates that were refused lately, so that they are not searched for in every call."""

    def __init__(self) -> None:
        self._refused: TTLCache[int, bool] = TTLCache(_REMEMBERED, _REMEMBERED_S)

    def remember(self, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            self._refused[_key(candidate)] = True

    def acceptable(self, candidate: Candidate) -> Candidate | None:
        """The candidate, or without its picture where that was refused; None where its words were."""
        if not self._refused:
            return candidate
        text, picture = candidate
        return next((form for form in ((text, picture), (text, [])) if _key(form) not in self._refused), None)


def _key(candidate: Candidate) -> int:
    text, picture = candidate
    return hash((text, *(part["image_url"]["url"] for part in picture)))
