"""One model on one vLLM server."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar, Unpack

from model_store.engine import fitting
from model_store.engine.bisection import Candidate
from model_store.engine.chat import Part, picture_parts, read_text, soft_token_parts, text_part, text_request
from model_store.engine.errors import CircuitOpen, EngineError, PromptTooLong
from model_store.engine.guard import guarded
from model_store.engine.per_candidate import ChatScorer, ClassifyScorer
from model_store.engine.plausible import require_plausible
from model_store.engine.probe import Prober, is_doubtful
from model_store.engine.score import PoolingScorer, Scorer
from model_store.engine.served_model import CHECK_TIMEOUT_S, ServedModel, ServerOptions
from model_store.pictures import FittedPictures, PictureSize
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest, Serving
from model_store.registry.registry import Registry
from model_store.signals import Signals, Vocabulary
from model_store.soft_tokens import SoftTokenTexts
from model_store.views import InteractionView, ItemView, UserView

Mode = Literal["score", "chat"]
Way = Literal["score", "classify", "chat"]
_T = TypeVar("_T")
_BISECTION_SHARE = 0.8
"""Of a call's time: the scores found until then are returned before the caller gives up."""
_GENERAL_PICTURE = PictureSize(224, 224, "contain")
_PATCH_PIXELS = 256
"""Of a picture, for one token of the prompt: an estimate that suits all vision encoders."""


class Engine(ServedModel):
    """Asks one model.

    Args:
        url, model, options: see `ServedModel`. Engines of one model may share a budget of retries.
        prompts: the templates that the model was trained on, or the built-in ones.
        manifest: the model version, which gives picture size, label tokens, token limits and probe; None for a general
            model, which answers in JSON, and whose label tokens `mode="chat"` asks of the server's tokenizer.
        mode: `score` asks a pooling server for all candidates at once, or for each if the version's pictures are soft
            tokens; `chat` asks a generating one for each.
        pictures, soft_tokens: pictures as the model reads them, which engines of one model may share.
    """

    def __init__(
        self,
        url: str,
        model: str,
        prompts: PromptSet,
        manifest: Manifest | None = None,
        *,
        mode: Mode = "score",
        pictures: FittedPictures | None = None,
        soft_tokens: SoftTokenTexts | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        super().__init__(url, model, manifest, **options)
        self.prompts = prompts
        self.pictures = pictures or FittedPictures(manifest.picture if manifest else _GENERAL_PICTURE)
        shape = manifest.picture_tokens if manifest else None
        self.soft_tokens = soft_tokens or (SoftTokenTexts(shape) if shape else None)
        self._picture_tokens = _tokens_of(self.pictures.size) if shape is None else shape.count
        self._serving = manifest.serving if manifest else Serving(json_answers=True)
        self.way: Way = "classify" if mode == "score" and shape else mode
        self._scorer = self._open_scorer()
        self._prober = Prober(manifest.probe if manifest else None, self._score_one)

    async def check(self) -> None:
        """Check, within seconds, that the server works, serves this model, and scores as it should.

        Raises:
            EngineError: it does not; the message says why.
        """
        await super().check()
        async with self._client.deadline(CHECK_TIMEOUT_S):
            await self._prober.check()

    async def describe(self, item: ItemView, *, attempt: int = 0) -> str:
        """The item summary: what the picture and the title show, in a few words.

        Args:
            attempt: how many earlier requests for the same item failed.

        Raises:
            EngineError: see `errors`.
        """
        answer_tokens = self._serving.max_description_tokens

        async def ask(limit: int) -> str:
            picture = await asyncio.to_thread(picture_parts, item.image, self.pictures)
            text = fitting.first_fitting(fitting.descriptions(self.prompts, item), limit)
            content = [*picture, text_part(text)] if picture else text
            request = text_request(content, answer_tokens, attempt, in_json=self._serving.json_answers)
            # A picture may show any script.
            return require_plausible(await self._generate(request, self.prompts.limits.item_summary))

        with guarded(self.breaker, self.url):
            return await self._fitted(ask, answer_tokens)

    async def summarize(self, summary: str, block: Sequence[InteractionView], *, attempt: int = 0) -> str:
        """The new preference summary, from the old one ("" for none) and one block, oldest event first.

        Args:
            attempt: how many earlier requests for the same block failed.

        Raises:
            EngineError: see `errors`.
        """
        answer_tokens = self._serving.max_summary_tokens

        async def ask(limit: int) -> str:
            text = fitting.first_fitting(fitting.summaries(self.prompts, summary, block), limit)
            penalty, in_json = self._serving.presence_penalty, self._serving.json_answers
            request = text_request(text, answer_tokens, attempt, penalty, in_json=in_json)
            written = await self._generate(request, self.prompts.limits.summary)
            return require_plausible(written, prompt=text, opening=self._serving.summary_opening)

        with guarded(self.breaker, self.url):
            return await self._fitted(ask, answer_tokens)

    async def score(
        self, user: UserView, items: Sequence[ItemView], *, timeout_s: float | None = None
    ) -> list[float | None]:
        """p(yes) in 0..1 for each of `items`, in their order; None for one that the server rejects, with and without
        its picture, or for which no time was left after such a rejection.

        Raises:
            EngineError: see `errors`.
            WrongScores: the server's score of the version's probe differs from the recorded one.
        """
        if not items:
            return []
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            with guarded(self.breaker, self.url):
                async with self._client.deadline(limit_s):
                    await self._prober.check()
                    return await self._scores(user, items, limit_s)
        except CircuitOpen:
            raise
        except EngineError as error:
            if is_doubtful(error):
                self._prober.doubt()
            raise

    def _open_scorer(self) -> Scorer:
        match self.way:
            case "score":
                return PoolingScorer(self._client, self.model)
            case "classify":
                return ClassifyScorer(self._client, self.model)
            case "chat":
                return ChatScorer(self._client, self.model, self.manifest.labels if self.manifest else None)

    async def _score_one(self, user: UserView, item: ItemView) -> float | None:
        return (await self._scores(user, [item], self._timeout_s))[0]

    async def _scores(self, user: UserView, items: Sequence[ItemView], timeout_s: float) -> list[float | None]:
        loop = asyncio.get_running_loop()
        bisect_until = loop.time() + _BISECTION_SHARE * timeout_s

        async def ask(limit: int) -> list[float | None]:
            # Fitting hundreds of pictures that are not cached takes a second: not on the event loop.
            query, candidates = await asyncio.to_thread(self._question, user, items, limit)
            return await self._scorer(query, candidates, bisect_until - loop.time())

        return await self._fitted(ask, 1, timeout_s)

    def _question(self, user: UserView, items: Sequence[ItemView], limit: int) -> tuple[str, list[Candidate]]:
        texts = [fitting.candidate(self.prompts, item, limit) for item in items]
        longest = max(len(text.encode()) for text in texts)
        query = fitting.first_fitting(fitting.users(self.prompts, user), limit - longest)
        pictures = [self._picture(item) for item in items]
        return query, list(zip(texts, pictures, strict=True))

    def _picture(self, item: ItemView) -> list[Part]:
        if self.soft_tokens is not None:
            return soft_token_parts(item.picture_tokens, self.soft_tokens)
        return picture_parts(item.image, self.pictures)

    async def _generate(self, request: dict[str, Any], limit: int) -> str:
        body = {"model": self.model, **request}
        answer = await self._client.post("/v1/chat/completions", body)
        return read_text(answer, limit, in_json=self._serving.json_answers)

    async def _fitted(
        self, ask: Callable[[int], Awaitable[_T]], answer_tokens: int, timeout_s: float | None = None
    ) -> _T:
        """Call `ask` with the bytes that the prompt may take, and with fewer when the server finds it too long."""
        *limits, last = fitting.limits(self._serving, self._picture_tokens, answer_tokens)
        async with self._client.deadline(self._timeout_s if timeout_s is None else timeout_s):
            for limit in limits:
                with suppress(PromptTooLong):
                    return await ask(limit)
            return await ask(last)


def _tokens_of(picture: PictureSize) -> int:
    return picture.width * picture.height // _PATCH_PIXELS + 2


def open_engine(
    url: str,
    model: str | None,
    version: str | None,
    registry: Registry,
    *,
    mode: Mode = "score",
    vocabulary: Vocabulary | None = None,
    pictures: FittedPictures | None = None,
    soft_tokens: SoftTokenTexts | None = None,
    **options: Unpack[ServerOptions],
) -> Engine:
    """An engine for `version`, or for a general model with the built-in prompts; see `Engine` for the other arguments.

    Args:
        model: the served name; None means that the server serves the version under its id.
        version: `name@1`, `name@production` or `name` in `registry`, or None.
        vocabulary: what types of events mean; it wins over the version's own.

    Raises:
        ManifestError: the version does not exist, or its files were changed.
        ValueError: neither a model nor a version was named.
    """
    manifest = registry.get(version) if version else None
    name = model or (manifest.id if manifest else None)
    if name is None:
        raise ValueError("name the model that the server serves, or a model version")
    vocabulary = vocabulary or Vocabulary()
    return Engine(
        url,
        name,
        registry.prompts(manifest, vocabulary) if manifest else PromptSet.built_in(signals=Signals(vocabulary)),
        manifest,
        mode=mode,
        pictures=pictures,
        soft_tokens=soft_tokens,
        **options,
    )
