"""Asks for p(yes) of many candidates, in one of two equivalent ways.

A pooling server answers `/score` for all candidates at once: its head is the difference of the
label tokens' output rows, p = sigmoid(h . (w_yes - w_no)). A generating server is asked for one
token per candidate, and p is the softmax over the two labels' logits, as in MLLM-MSR. The user's
text comes first and is the same for all candidates, which lets the server compute it once.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from model_store.blend import sigmoid
from model_store.engine.bisection import Bisection, Candidate, RejectedCandidates
from model_store.engine.chat import Part, text_part
from model_store.engine.client import VllmClient
from model_store.engine.errors import BadAnswer, EngineError, EngineRejected, PromptTooLong
from model_store.registry.manifest import Labels

_LABEL_WORDS = ("yes", "no")
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
            if not _may_be_one_candidate(rejection):
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


class ChatScorer:
    """One chat completion of one token per candidate.

    Args:
        labels: the label tokens; None asks the server's tokenizer for those of `yes` and `no`.
    """

    def __init__(self, client: VllmClient, model: str, labels: Labels | None) -> None:
        self._client = client
        self._model = model
        self._labels = labels

    async def __call__(self, query: str, candidates: Sequence[Candidate], bisection_s: float) -> list[float | None]:
        labels = self._labels or await self._ask_labels()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._score(query, *candidate, labels)) for candidate in candidates]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        answers = [task.result() for task in tasks]
        rejections = [answer for answer in answers if isinstance(answer, EngineRejected)]
        if len(rejections) == len(answers):
            raise rejections[0]
        if rejections:
            log.warning("candidates were rejected: %d of %d", len(rejections), len(answers))
        return [None if isinstance(answer, EngineRejected) else answer for answer in answers]

    async def _score(self, query: str, text: str, picture: list[Part], labels: Labels) -> float | EngineRejected:
        try:
            return await self._ask(query, text, picture, labels)
        except EngineRejected as rejection:
            if not _may_be_one_candidate(rejection):
                raise
            return await self._score(query, text, [], labels) if picture else rejection

    async def _ask(self, query: str, text: str, picture: list[Part], labels: Labels) -> float:
        body = {"model": self._model, **one_token_request([text_part(query), *picture, text_part(text)], labels)}
        read = read_one_token(await self._client.post("/v1/chat/completions", body), labels)
        self._client.observer.label_mass(read.mass)
        return read.yes

    async def _ask_labels(self) -> Labels:
        yes_id, no_id = [await self._token(word) for word in _LABEL_WORDS]
        self._labels = Labels(yes_id=yes_id, no_id=no_id)
        return self._labels

    async def _token(self, word: str) -> int:
        body = {"model": self._model, "prompt": word, "add_special_tokens": False}
        tokens = (await self._client.post("/tokenize", body))["tokens"]
        if len(tokens) != 1:
            raise EngineRejected(f"the label {word!r} is {len(tokens)} tokens of {self._model}, not one")
        return int(tokens[0])


def _may_be_one_candidate(rejection: EngineRejected) -> bool:
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


def one_token_request(content: list[Part], labels: Labels) -> dict[str, Any]:
    """The chat completion that reads both labels' log-probabilities at the first answer position."""
    ids = [labels.yes_id, labels.no_id]
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": True,
        "top_logprobs": len(ids),
        "logprob_token_ids": ids,
        "allowed_token_ids": ids,
        "return_tokens_as_token_ids": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }


class OneToken(NamedTuple):
    """`yes` is p(yes), the softmax over the two labels' log-probabilities; `mass` is p(yes) + p(no) of all tokens.

    The mass is 1 where a server reports log-probabilities after `allowed_token_ids` (vLLM: `processed_logprobs`).
    """

    yes: float
    mass: float


def read_one_token(answer: Any, labels: Labels) -> OneToken:
    """
    Raises:
        BadAnswer: the answer lacks one of the two.
    """
    try:
        entries = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        by_token = {entry["token"]: float(entry["logprob"]) for entry in entries}
        yes, no = by_token[f"token_id:{labels.yes_id}"], by_token[f"token_id:{labels.no_id}"]
        return OneToken(sigmoid(yes - no), min(1.0, math.exp(yes) + math.exp(no)))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise BadAnswer("malformed", f"no log-probability for each label: {error!r}") from None
