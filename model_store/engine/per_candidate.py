"""Asks for p(yes) of candidates in one request for each, in one of two ways.

A generating server is asked for one token, and p is the softmax over the two labels' logits, as in MLLM-MSR. A pooling
server is asked by `/classify`, which unlike `/score` takes messages with soft tokens; the head is the same.
"""

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from model_store.blend import sigmoid
from model_store.engine.bisection import Candidate
from model_store.engine.chat import Part, text_part
from model_store.engine.client import VllmClient
from model_store.engine.errors import BadAnswer, EngineRejected
from model_store.engine.score import may_be_one_candidate
from model_store.registry.manifest import Labels

_LABEL_WORDS = ("yes", "no")
log = logging.getLogger(__name__)


class PerCandidateScorer(ABC):
    """One request for each candidate, as many at a time as the client allows. A rejected one costs only itself."""

    def __init__(self, client: VllmClient, model: str) -> None:
        self._client = client
        self._model = model

    @abstractmethod
    async def ask(self, content: list[Part]) -> float:
        """p(yes) after a message of the user with this content.

        Raises:
            EngineError: see `errors`.
        """

    async def __call__(self, query: str, candidates: Sequence[Candidate], bisection_s: float) -> list[float | None]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._score(query, *candidate)) for candidate in candidates]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        answers = [task.result() for task in tasks]
        rejections = [answer for answer in answers if isinstance(answer, EngineRejected)]
        if len(rejections) == len(answers):
            raise rejections[0]
        if rejections:
            log.warning("candidates were rejected: %d of %d", len(rejections), len(answers))
        return [None if isinstance(answer, EngineRejected) else answer for answer in answers]

    async def _score(self, query: str, text: str, picture: list[Part]) -> float | EngineRejected:
        try:
            return await self.ask([text_part(query), *picture, text_part(text)])
        except EngineRejected as rejection:
            if not may_be_one_candidate(rejection):
                raise
            return await self._score(query, text, []) if picture else rejection


class ClassifyScorer(PerCandidateScorer):
    """One `/classify` for each candidate, in the chat template of the model's own tokenizer."""

    async def ask(self, content: list[Part]) -> float:
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            # Without it, the score would be read before the model's turn.
            "add_generation_prompt": True,
            "chat_template_kwargs": {"enable_thinking": False},
        }
        return read_class(await self._client.post("/classify", body))


class ChatScorer(PerCandidateScorer):
    """One chat completion of one token for each candidate.

    Args:
        labels: the label tokens; None asks the server's tokenizer for those of `yes` and `no`.
    """

    def __init__(self, client: VllmClient, model: str, labels: Labels | None) -> None:
        super().__init__(client, model)
        self._labels = labels

    async def __call__(self, query: str, candidates: Sequence[Candidate], bisection_s: float) -> list[float | None]:
        await self._known_labels()
        return await super().__call__(query, candidates, bisection_s)

    async def ask(self, content: list[Part]) -> float:
        labels = await self._known_labels()
        body = {"model": self._model, **one_token_request(content, labels)}
        read = read_one_token(await self._client.post("/v1/chat/completions", body), labels)
        self._client.observer.label_mass(read.mass)
        return read.yes

    async def _known_labels(self) -> Labels:
        if self._labels is None:
            yes_id, no_id = [await self._token(word) for word in _LABEL_WORDS]
            self._labels = Labels(yes_id=yes_id, no_id=no_id)
        return self._labels

    async def _token(self, word: str) -> int:
        body = {"model": self._model, "prompt": word, "add_special_tokens": False}
        tokens = (await self._client.post("/tokenize", body))["tokens"]
        if len(tokens) != 1:
            raise EngineRejected(f"the label {word!r} is {len(tokens)} tokens of {self._model}, not one")
        return int(tokens[0])


def read_class(answer: Any) -> float:
    """p(yes) in a `/classify` answer for one message.

    Raises:
        BadAnswer: not exactly one probability.
    """
    try:
        (entry,) = answer["data"]
        (score,) = map(float, entry["probs"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnswer("malformed", f"not one probability: {error!r}") from None
    if not 0.0 <= score <= 1.0:
        raise BadAnswer("malformed", f"{score} is not a probability")
    return score


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
