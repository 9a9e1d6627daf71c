"""One model on one vLLM server."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar

import orjson

from model_store.engine import fitting
from model_store.engine.client import VllmClient
from model_store.engine.content import Part, picture_parts, text_part
from model_store.engine.errors import BadAnswer, EngineError, EngineRejected, PromptTooLong
from model_store.engine.generate import read_text, text_request
from model_store.engine.plausible import implausible
from model_store.engine.probe import Prober, is_doubtful
from model_store.engine.score import ChatScorer, PoolingScorer, Scorer
from model_store.pictures import FITTED_BYTES, FittedPictures, PictureSize
from model_store.prompts import PromptSet
from model_store.registry.manifest import Labels, Manifest, Serving
from model_store.views import InteractionView, ItemView, UserView

Mode = Literal["score", "chat"]
_T = TypeVar("_T")
_CHECK_TIMEOUT_S = 2.0
_SEARCH_SHARE = 0.8
"""Of a call's time; what candidates were scored until then is returned before the caller gives up."""


def _plausible(written: str, *, prompt: str | None = None, opening: str = "") -> str:
    if reason := implausible(written, prompt=prompt, opening=opening):
        raise BadAnswer("implausible", f"the answer is no summary: {reason}; it begins with {written[:60]!r}")
    return written


class Engine:
    """Asks one model.

    Args:
        url: the server's root, without `/v1`.
        model: the name under which the server serves the model.
        prompts: the templates that the model was trained on, or the built-in ones.
        picture: the size at which the model sees every picture.
        labels: the label tokens; for `mode="chat"` they may be left to the server's tokenizer.
        mode: `score` asks a pooling server for all candidates at once, `chat` a generating one for each.
        timeout_s: the longest that a call takes when it is given no time of its own.
        connect_timeout_s: the longest wait for a connection.
        max_concurrent_calls: requests sent at the same time; further ones wait within their own time.
        api_key: the server's key, sent as a bearer token.
        serving: the model's prompt and answer lengths in tokens.
        manifest: the model version, if the model is one.
    """

    def __init__(
        self,
        url: str,
        model: str,
        prompts: PromptSet,
        *,
        picture: PictureSize | None = None,
        labels: Labels | None = None,
        mode: Mode = "score",
        timeout_s: float = 30.0,
        connect_timeout_s: float = 1.0,
        max_concurrent_calls: int = 64,
        api_key: str | None = None,
        fitted_bytes: int = FITTED_BYTES,
        serving: Serving | None = None,
        manifest: Manifest | None = None,
    ) -> None:
        self.model = model
        self.prompts = prompts
        self.manifest = manifest
        self._pictures = FittedPictures(picture or PictureSize(), fitted_bytes)
        self._serving = serving or Serving()
        self._timeout_s = timeout_s
        self._client = VllmClient(
            url, connect_timeout_s=connect_timeout_s, max_concurrent_calls=max_concurrent_calls, api_key=api_key
        )
        self.url = self._client.url
        self._scorer: Scorer = (
            PoolingScorer(self._client, model) if mode == "score" else ChatScorer(self._client, model, labels)
        )
        self._prober = Prober(manifest.probe if manifest else None, self._score_one)

    @property
    def id(self) -> str:
        """What answers name: the model version (`name@1`), or the served name of a model that is none."""
        return self.manifest.id if self.manifest else self.model

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()

    async def check(self) -> None:
        """Ask, within seconds, whether the server works, serves this model, and scores as it should.

        Raises:
            EngineError: it does not; the message says why.
        """
        async with self._client.deadline(_CHECK_TIMEOUT_S):
            await self._client.get("/health")
            listing = await self._client.get("/v1/models")
        try:
            served = [entry["id"] for entry in orjson.loads(listing)["data"]]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise BadAnswer("malformed", f"{self.url}/v1/models is no list of models: {error!r}") from None
        if self.model not in served:
            raise EngineRejected(f"{self.url} serves {', '.join(served)}, not {self.model}")
        async with self._client.deadline(_CHECK_TIMEOUT_S):
            await self._prober.check()

    async def healthy(self) -> bool:
        """Whether `check` passes."""
        try:
            await self.check()
        except EngineError:
            return False
        return True

    async def describe(self, item: ItemView, *, attempt: int = 0, timeout_s: float | None = None) -> str:
        """The item summary: what the picture and the title show, in a few words.

        Args:
            attempt: how often the same item was asked about before, in vain.

        Raises:
            EngineError: see `errors`.
        """
        answer_tokens = self._serving.max_description_tokens

        async def ask(limit: int) -> str:
            picture = await asyncio.to_thread(picture_parts, item.image, self._pictures)
            text = fitting.first_fitting(fitting.descriptions(self.prompts, item), limit)
            content = [*picture, text_part(text)] if picture else text
            request = text_request(content, answer_tokens, attempt)
            # A picture may show any script.
            return _plausible(await self._generate(request, self.prompts.limits.item_summary))

        return await self._fitted(ask, answer_tokens, timeout_s)

    async def summarize(
        self, summary: str, block: Sequence[InteractionView], *, attempt: int = 0, timeout_s: float | None = None
    ) -> str:
        """The new preference summary, from the old one ("" if there is none) and one block, oldest event first.

        Args:
            attempt: how often the same block was asked about before, in vain.

        Raises:
            EngineError: see `errors`.
        """
        answer_tokens = self._serving.max_summary_tokens

        async def ask(limit: int) -> str:
            text = fitting.first_fitting(fitting.summaries(self.prompts, summary, block), limit)
            request = text_request(text, answer_tokens, attempt, self._serving.presence_penalty)
            written = await self._generate(request, self.prompts.limits.summary)
            return _plausible(written, prompt=text, opening=self._serving.summary_opening)

        return await self._fitted(ask, answer_tokens, timeout_s)

    async def score(
        self, user: UserView, items: Sequence[ItemView], *, timeout_s: float | None = None
    ) -> list[float | None]:
        """p(yes) in 0..1 for each of `items`, in their order; None for one that the server refuses, with and without
        its picture, or that no time was left for after such a refusal.

        Raises:
            EngineError: see `errors`.
            WrongScores: the server scores the version's probe otherwise than recorded.
        """
        if not items:
            return []
        try:
            await self._prober.check()
            return await self._scores(user, items, timeout_s)
        except EngineError as error:
            if is_doubtful(error):
                self._prober.doubt()
            raise

    async def _score_one(self, user: UserView, item: ItemView) -> float | None:
        return (await self._scores(user, [item], None))[0]

    async def _scores(self, user: UserView, items: Sequence[ItemView], timeout_s: float | None) -> list[float | None]:
        loop = asyncio.get_running_loop()
        search_until = loop.time() + _SEARCH_SHARE * (self._timeout_s if timeout_s is None else timeout_s)

        async def ask(limit: int) -> list[float | None]:
            # Fitting hundreds of pictures that are not cached takes a second: not on the event loop.
            query, texts, pictures = await asyncio.to_thread(self._question, user, items, limit)
            return await self._scorer(query, texts, pictures, search_until - loop.time())

        return await self._fitted(ask, 1, timeout_s)

    def _question(
        self, user: UserView, items: Sequence[ItemView], limit: int
    ) -> tuple[str, list[str], list[list[Part]]]:
        """The user's text, and the text and the picture of each candidate."""
        texts = [fitting.candidate(self.prompts, item, limit) for item in items]
        longest = max(len(text.encode()) for text in texts)
        query = fitting.first_fitting(fitting.users(self.prompts, user), limit - longest)
        return query, texts, [picture_parts(item.image, self._pictures) for item in items]

    async def _generate(self, request: dict[str, Any], limit: int) -> str:
        body = {"model": self.model, **request}
        return read_text(await self._client.post("/v1/chat/completions", body), limit)

    async def _fitted(self, ask: Callable[[int], Awaitable[_T]], answer_tokens: int, timeout_s: float | None) -> _T:
        """Call `ask` with the bytes that the prompt may take, and with fewer when the server finds it too long."""
        limits = [
            fitting.budget(self._serving, self._pictures.size, answer_tokens, ratio)
            for ratio in fitting.BYTES_PER_TOKEN
        ]
        async with self._client.deadline(self._timeout_s if timeout_s is None else timeout_s):
            for limit in limits[:-1]:
                with suppress(PromptTooLong):
                    return await ask(limit)
            return await ask(limits[-1])
