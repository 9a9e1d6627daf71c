"""Asking for p(yes) of many candidates.

Two ways with one meaning. A pooling server answers `/score` for all candidates at once: its head
is the difference of the label tokens' output rows, p = sigmoid(h . (w_yes - w_no)). A generating
server is asked for one token per candidate, and p is the softmax over the two labels' logits, as
in MLLM-MSR. The user's text comes first and is the same for all, so that it is computed once.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Protocol

from model_store.engine.client import VllmClient
from model_store.engine.content import Part, text_part
from model_store.engine.errors import BadAnswer, EngineRejected
from model_store.manifest import Labels

_LABEL_WORDS = ("yes", "no")


class Scorer(Protocol):
    """One way of asking.

    Args:
        query: the user's text.
        texts: one text per candidate.
        pictures: what `picture_parts` made of each candidate's picture.

    Returns:
        p(yes) in 0..1 per candidate, in their order.

    Raises:
        EngineError: see `errors`.
    """

    async def __call__(self, query: str, texts: Sequence[str], pictures: Sequence[list[Part]]) -> list[float]: ...


class PoolingScorer:
    """One `/score` call for all candidates."""

    def __init__(self, client: VllmClient, model: str) -> None:
        self._client = client
        self._model = model

    async def __call__(self, query: str, texts: Sequence[str], pictures: Sequence[list[Part]]) -> list[float]:
        documents = [
            {"content": [*picture, text_part(text)]} if picture else text
            for text, picture in zip(texts, pictures, strict=True)
        ]
        body = {"model": self._model, "queries": query, "documents": documents}
        return read_scores(await self._client.post("/score", body), len(texts))


class ChatScorer:
    """One chat completion of one token per candidate.

    Args:
        labels: the label tokens; when None, the server's tokenizer is asked for those of `yes` and `no`.
    """

    def __init__(self, client: VllmClient, model: str, labels: Labels | None) -> None:
        self._client = client
        self._model = model
        self._labels = labels

    async def __call__(self, query: str, texts: Sequence[str], pictures: Sequence[list[Part]]) -> list[float]:
        labels = self._labels or await self._ask_labels()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._score(query, text, picture, labels))
                    for text, picture in zip(texts, pictures, strict=True)
                ]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _score(self, query: str, text: str, picture: list[Part], labels: Labels) -> float:
        body = {"model": self._model, **one_token_request([text_part(query), *picture, text_part(text)], labels)}
        return read_one_token(await self._client.post("/v1/chat/completions", body), labels)

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


def read_scores(answer: Any, count: int) -> list[float]:
    """The `count` probabilities of a `/score` answer, in the order of the documents.

    Raises:
        BadAnswer: malformed: not exactly one probability for each document.
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
            raise BadAnswer("malformed", f"score {score} of candidate {index} is no probability")
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


def read_one_token(answer: Any, labels: Labels) -> float:
    """p(yes): the softmax over the two labels' log-probabilities.

    Raises:
        BadAnswer: malformed: the answer lacks one of the two.
    """
    try:
        entries = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        by_token = {entry["token"]: float(entry["logprob"]) for entry in entries}
        margin = by_token[f"token_id:{labels.yes_id}"] - by_token[f"token_id:{labels.no_id}"]
        return 1.0 / (1.0 + math.exp(-margin))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise BadAnswer("malformed", f"no log-probability for each label: {error!r}") from None
