"""Asks for p(yes) of many candidates.

A pooling server answers `/score` for all candidates at once: its head is the difference of the label tokens' output
rows, p = sigmoid(h . (w_yes - w_no)). The other ways ask for each candidate, see `per_candidate`. The user's text comes
first and is the same for all candidates, which lets the server compute it once.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from model_store.engine.bisection import Bisection, Candidate, RejectedCandidates
from model_store.engine.chat import text_part
from model_store.engine.client import VllmClient
from model_store.engine.errors import BadAnswer, EngineError, EngineRejected, PromptTooLong

_BAD_REQUEST = (400, 413, 422)
log = logging.getLogger(__name__)


class Scorer(Protocol):
    """One way of scoring.

    Args:
        query: the user's text.
        bisection_s: how long finding rejected candidates may take; the scores found by then are returned.

    Returns:
        p(yes) in 0..1 per candidate, in their order; None for one that the server rejects, also without its picture,
        or for which no time was left.

    Raises:
        EngineError: see `errors`. EngineRejected: all are rejected, or too many.
    """

    async def __call__(self, query: str, candidates: Sequence[Candidate], bisection_s: float) -> list[float | None]: ...


class PoolingScorer:
    """One `/score` call for all candidates. When it is rejected, bisection finds the candidates that caused it."""

    def __init__(self, client: VllmClient, model: str) -> None:
        self._client = client
        self._model = model
        self._rejected = RejectedCandidates()

    async def __call__(self, query: str, candidates: Sequence[Candidate], bisection_s: float) -> list[float | None]:
        forms = [self._rejected.acceptable(candidate) for candidate in candidates]
        asked = [form for form in forms if form is not None]
        scores = iter(await self._score(query, asked, bisection_s) if asked else ())
        return [None if form is None else next(scores) for form in forms]

    async def _score(self, query: str, candidates: Sequence[Candidate], bisection_s: float) -> list[float | None]:
        try:
            return [*await self._ask(query, candidates)]
        except EngineRejected as rejection:
            if not may_be_one_candidate(rejection):
                raise
            bisection = Bisection(lambda some: self._ask(query, some), candidates)
            try:
                async with asyncio.timeout(bisection_s):
                    await bisection.run()
            except (TimeoutError, EngineError) as error:
                log.warning("the search for rejected candidates ended early: %r", error)
            if all(score is None for score in bisection.scores):
                raise
            self._rejected.remember(bisection.rejected)
            log.warning("candidates without a score: %d of %d", bisection.scores.count(None), len(candidates))
            return bisection.scores

    async def _ask(self, query: str, candidates: Sequence[Candidate]) -> list[float]:
        documents = [{"content": [*picture, text_part(text)]} if picture else text for text, picture in candidates]
        body = {"model": self._model, "queries": query, "documents": documents}
        return read_scores(await self._client.post("/score", body), len(candidates))


def may_be_one_candidate(rejection: EngineRejected) -> bool:
    """A prompt that is too long is retried shorter, and no candidate causes a wrong model, path or key."""
    return not isinstance(rejection, PromptTooLong) and rejection.status in _BAD_REQUEST


def read_scores(answer: Any, count: int) -> list[float]:
    """The `count` probabilities of a `/score` answer, in the order of the documents.

    Raises:
        BadAnswer: not exactly one probability for each document.
    """
    try:
        by_index = {int(entry["index"]): float(entry["score"]) for entry in answer["data"]}
        scores = [by_index[index] for index in range(count)]
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnswer("malformed", f"no score for every candidate: {error!r}") from None
    if len(answer["data"]) != count:
        raise BadAnswer("malformed", f"{len(answer['data'])} scores for {count} candidates")
    for index, score in enumerate(scores):
        if not 0.0 <= score <= 1.0:
            raise BadAnswer("malformed", f"score {score} of candidate {index} is not a probability")
    return scores
