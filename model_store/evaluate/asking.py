"""Asks the models of an evaluation by the code path of production, many users at a time."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import stamina

from model_store.blocks import blocks
from model_store.engine.engine import Engine
from model_store.engine.errors import (
    BadAnswer,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    WrongScores,
)
from model_store.errors import UserError
from model_store.evaluate.answers import AnswerCache, answer_key, version_key
from model_store.evaluate.condition import Condition, Folding
from model_store.evaluate.server import ModelServer
from model_store.evaluate.soft_tokens import SoftTokens
from model_store.evaluate.views import DatasetViews
from model_store.for_each import for_each
from model_store.progress import Report
from model_store.views import InteractionView, ItemView, UserView

_T = TypeVar("_T")
MAX_CONCURRENT_TEXTS = 64
_MAX_CONCURRENT_SCORES = 32
ATTEMPTS = 5
"""As workers do before they dead-letter a block."""
_SERVER_BACK_S = 120.0
_SERVER_DOWN = (EngineUnavailable, EngineTimeout, EngineOverloaded, WrongScores)
CACHED_FAILURE = "no answer in an earlier run"
_NOT_THE_PROMPT = (401, 403, 404)
"""Rejections of the caller or of the model's name, whatever the prompt: they must not be cached as its answer."""
_NO_ANSWER = ""
"""Cached for a prompt to which the model has no answer."""


class AskingFailed(UserError):
    """A server stopped answering. What it answered is cached: the same command goes on from there."""


class Summarizer:
    """Writes item summaries and user summaries.

    Attributes:
        asked: prompts that were not cached.
        unanswered: prompts that were asked without a usable answer.
        failures: the unanswered ones by the code of the last error.
    """

    def __init__(self, server: ModelServer, cache: AnswerCache, report: Report) -> None:
        self._server = server
        self._cache = cache
        self._report = report
        self._version = version_key(server.manifest)
        self.asked = 0
        self.unanswered = 0
        self.failures: Counter[str] = Counter()

    async def describe(self, views: DatasetViews, item_ids: Sequence[str]) -> dict[str, str]:
        """The item summary of each item, by item id; "" without a picture, and where the model has no answer."""

        texts = await for_each(
            item_ids, partial(self.description, views), MAX_CONCURRENT_TEXTS, "describing pictures", self._report
        )
        return dict(zip(item_ids, texts, strict=True))

    async def description(self, views: DatasetViews, item_id: str) -> str:
        """The summary of one item, as `describe` returns it."""
        view = views.item(item_id)
        if view.image is None:
            return ""
        key = answer_key(self._version, "describe", self._server.prompts.describe(view), views.digest(item_id))
        return await self._text(key, lambda engine, attempt: engine.describe(view, attempt=attempt)) or ""

    async def fold(self, histories: Sequence[Sequence[InteractionView]], folding: Folding) -> list[str]:
        """The summary of each history, from an empty one, as workers fold it.

        Events whose item is unknown count for the lengths of the blocks, but are not shown. A block to which the model
        has no answer leaves the summary as it was.
        """

        async def one(history: Sequence[InteractionView]) -> str:
            texts = [text async for _, text in self.steps(history, folding)]
            return texts[-1] if texts else ""

        return await for_each(histories, one, MAX_CONCURRENT_TEXTS, f"summaries, {folding}", self._report)

    async def steps(self, history: Sequence[InteractionView], folding: Folding) -> AsyncIterator[tuple[int, str]]:
        """After each block, the number of events so far and the summary of them; see `fold`."""
        text, start = "", 0
        for count in plan(len(history), folding):
            block = [event for event in history[start : start + count] if event.item is not None]
            start += count
            if block:
                text = await self._step(text, block) or text
            yield start, text

    async def _step(self, summary: str, block: Sequence[InteractionView]) -> str | None:
        key = answer_key(self._version, "summarize", self._server.prompts.summarize(summary, block))
        return await self._text(key, lambda engine, attempt: engine.summarize(summary, block, attempt=attempt))

    async def _text(self, key: bytes, ask: Callable[[Engine, int], Awaitable[str]]) -> str | None:
        cached = self._cache.get([key]).get(key)
        if cached is None:
            cached, code = await _answer(await self._server.engine(), ask)
            self._cache.put({key: cached})
            self.asked += 1
        else:
            code = CACHED_FAILURE
        if cached == _NO_ANSWER:
            self.unanswered += 1
            self.failures[code] += 1
        return cached or None


class Ranker:
    """Scores candidates.

    Args:
        soft_tokens: for a version that is shown these instead of pictures.

    Attributes:
        unscored: candidates for which the model has no score.
    """

    def __init__(
        self, server: ModelServer, cache: AnswerCache, report: Report, soft_tokens: SoftTokens | None = None
    ) -> None:
        self._server = server
        self._cache = cache
        self._report = report
        self._soft_tokens = soft_tokens
        self._version = version_key(server.manifest)
        self.unscored = 0

    async def score(
        self,
        users: Sequence[UserView],
        candidates: Sequence[Sequence[str]],
        views: DatasetViews,
        condition: Condition,
        stage: str,
    ) -> list[list[float | None]]:
        """p(yes), 0..1, of each user's candidates under a condition; None for those that the server rejects.

        Args:
            users: summary and whole history; the condition decides how much of it is shown.
            candidates: item ids per user.
        """
        everything = max((len(user.recents) for user in users), default=0) if condition.recents == "all" else None

        async def one(place: int) -> list[float | None]:
            return await self._scores(users[place], candidates[place], views, condition, everything)

        most = max(map(len, candidates), default=1)
        at_once = max(1, min(_MAX_CONCURRENT_SCORES, self._server.manifest.serving.max_queued // (2 * most)))
        return await for_each(range(len(users)), one, at_once, stage, self._report)

    async def _scores(
        self, user: UserView, candidates: Sequence[str], views: DatasetViews, condition: Condition, recents: int | None
    ) -> list[float | None]:
        prompts = self._server.prompts_with(recents)
        shown = replace(user, recents=() if condition.recents == "none" else condition.history(user.recents))
        query = prompts.rank_user(shown)
        items = [condition.item(views.item(item_id)) for item_id in candidates]
        pictures = [
            b"" if item.image is None else views.digest(item_id)
            for item_id, item in zip(candidates, items, strict=True)
        ]
        keys = [
            answer_key(self._version, "score", query, prompts.rank_item(item), picture)
            for item, picture in zip(items, pictures, strict=True)
        ]
        cached = self._cache.get(keys)
        missing = [place for place, key in enumerate(keys) if key not in cached]
        if missing:
            engine = await self._server.engine(recents)
            asked = await self._with_tokens({candidates[place]: items[place] for place in missing})
            found = await _scored(engine, shown, asked)
            fresh = {
                keys[place]: _NO_ANSWER if score is None else repr(score)
                for place, score in zip(missing, found, strict=True)
            }
            self._cache.put(fresh)
            cached |= fresh
        scores = [float(cached[key]) if cached[key] != _NO_ANSWER else None for key in keys]
        self.unscored += scores.count(None)
        return scores

    async def _with_tokens(self, items: Mapping[str, ItemView]) -> list[ItemView]:
        """The items, by id, with soft tokens if the version is shown these."""
        if self._soft_tokens is None:
            return list(items.values())
        tokens = await self._soft_tokens.of({item_id: item.image for item_id, item in items.items() if item.image})
        return [replace(item, picture_tokens=tokens.get(item_id)) for item_id, item in items.items()]


def plan(events: int, folding: Folding) -> list[int]:
    """The lengths of the blocks, as workers plan them for events that come in one by one."""
    if folding.block is None:
        return [events] if events else []
    return blocks(events, folding.block, max(events, 1), max(events, 1))


async def _answer(engine: Engine, ask: Callable[[Engine, int], Awaitable[str]]) -> tuple[str, str]:
    """The text, or `_NO_ANSWER` after as many attempts as a worker makes, and the code of the last error."""
    code = ""
    for attempt in range(ATTEMPTS):
        try:
            return await _patiently(engine, partial(ask, engine, attempt)), ""
        except BadAnswer as error:
            code = error.code
        except EngineRejected as error:
            # The same request would be rejected again.
            return _NO_ANSWER, error.code
    return _NO_ANSWER, code


async def _scored(engine: Engine, user: UserView, items: Sequence[ItemView]) -> list[float | None]:
    try:
        return await _patiently(engine, lambda: engine.score(user, items))
    except EngineRejected:
        return [None] * len(items)


async def _patiently(engine: Engine, ask: Callable[[], Awaitable[_T]]) -> _T:
    """Wait for a server that is overloaded or restarts.

    Raises:
        AskingFailed: it does not come back.
        EngineRejected, BadAnswer: it answers, but not this prompt.
    """
    try:
        async for attempt in stamina.retry_context(on=_SERVER_DOWN, attempts=None, timeout=_SERVER_BACK_S, wait_max=10):
            with attempt:
                return await ask()
    except _SERVER_DOWN as error:
        raise AskingFailed(
            f"{engine.id} stopped answering: {error}. Its answers are cached: run the command again to go on"
        ) from None
    except EngineRejected as error:
        if error.status in _NOT_THE_PROMPT:
            raise AskingFailed(
                f"{engine.id} can't be asked: {error}. Run the command again when that is mended"
            ) from None
        raise
    raise AssertionError("stamina ends with a result or an exception")
