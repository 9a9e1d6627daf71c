"""An embedder on one vLLM server: item in, unit vector out.

A model of NoteLLM-2 is asked by `/pooling`: the server answers with the hidden states at every read token of the
prompt (STEP pooling), and the version's head makes a vector of the last one. A general embedding model, such as
Qwen3-VL-Embedding, is asked by `/v1/embeddings`; its answer is cut to the version's dimensions (Matryoshka).
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from model_store.embedder_head import Floats, Head
from model_store.engine import fitting
from model_store.engine.chat import Part, picture_parts, text_part
from model_store.engine.errors import BadAnswer, PromptTooLong
from model_store.engine.guard import guarded
from model_store.engine.served_model import ServedModel, ServerOptions
from model_store.pictures import FittedPictures
from model_store.prompts import TextLimits, item_texts
from model_store.prompts.embed import EmbedPrompts
from model_store.registry.manifest import Embedding, Manifest, ManifestError
from model_store.registry.registry import Registry
from model_store.soft_tokens import BadSoftTokens, SoftTokenTexts, split_feature
from model_store.views import ItemView

_TEXT = TextLimits()


class Embedder(ServedModel):
    """Asks one embedder.

    Args:
        url, options: see `ServedModel`.
        manifest: a version with `embedding`; its id is also the name of its index.
        prompts, head: those of the version; None for a `direct` model.
        model: the name under which the server serves the version, if it is not the id.

    Raises:
        ManifestError: the version is no embedder, or lacks what its kind needs.
    """

    manifest: Manifest

    def __init__(
        self,
        url: str,
        manifest: Manifest,
        prompts: EmbedPrompts | None = None,
        head: Head | None = None,
        *,
        model: str | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        if manifest.embedding is None:
            raise ManifestError(f"{manifest.id} is no embedder: its manifest has no [embedding]")
        super().__init__(url, model or manifest.id, manifest, **options)
        self.embedding = manifest.embedding
        self._request = _request(manifest, prompts, head)

    async def embed(self, item: ItemView) -> Floats:
        """The vector of an item, of shape (dimensions,), float32, with the norm 1.

        Args:
            item: with `picture_tokens` for a version that reads soft tokens, else with `image`.

        Raises:
            EngineError: see `errors`. What can't be read of a picture is left out.
        """
        with guarded(self.breaker, self.url):
            async with self._client.deadline(self._timeout_s):
                *limits, last = fitting.limits(self.manifest.serving, self._request.picture_tokens, 0)
                for limit in limits:
                    try:
                        return await self._ask(item, limit)
                    except PromptTooLong:
                        continue
                return await self._ask(item, last)

    async def _ask(self, item: ItemView, limit: int) -> Floats:
        body, feature = await asyncio.to_thread(self._request.body, item, limit)
        answer = await self._client.post(self._request.path, {"model": self.model, **body})
        return self._request.vector(answer, feature)


def open_embedder(
    url: str, version: str, registry: Registry, *, model: str | None = None, **options: Unpack[ServerOptions]
) -> Embedder:
    """An embedder for a version of `registry`; see `Embedder` for the other arguments.

    Raises:
        ManifestError: the version does not exist, is no embedder, or its files were changed or do not fit it.
        HeadError: its head is too large, or malformed.
    """
    manifest = registry.get(version)
    direct = manifest.embedding is not None and manifest.embedding.kind == "direct"
    prompts = None if direct else registry.embed_prompts(manifest)
    return Embedder(url, manifest, prompts, registry.head(manifest), model=model, **options)


class _States:
    """Asks a model of NoteLLM-2 for hidden states."""

    path = "/pooling"

    def __init__(self, manifest: Manifest, prompts: EmbedPrompts, head: Head) -> None:
        self._prompts, self._head = prompts, head
        self._shape = manifest.picture_tokens
        shown = self._shape and self._shape.model_copy(update={"feature": False})
        self._texts = SoftTokenTexts(shown) if shown else None
        self.picture_tokens = self._shape.count if self._shape else 0

    def body(self, item: ItemView, limit: int) -> tuple[dict[str, Any], Floats | None]:
        """The request, and the picture's feature."""
        parts, feature = self._picture(item)
        texts = (self._prompts.text(lean, picture=bool(parts)) for lean in _leaner(item))
        content = [*parts, text_part(fitting.first_fitting(texts, limit))]
        return {"messages": [{"role": "user", "content": content}], "task": "token_embed"}, feature

    def vector(self, answer: Any, feature: Floats | None) -> Floats:
        try:
            rows = answer["data"][0]["data"]
            states = np.array(rows[-1:], dtype=np.float32)
            return np.asarray(self._head(states, feature)[0])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadAnswer("malformed", f"no hidden state of the read token: {str(error)[:200]}") from None

    def _picture(self, item: ItemView) -> tuple[list[Part], Floats | None]:
        if item.picture_tokens is None or self._shape is None or self._texts is None:
            return [], None
        try:
            tokens, feature = split_feature(item.picture_tokens, self._shape)
            part = {"type": "prompt_embeds", "data": self._texts.text(tokens)}
        except BadSoftTokens:
            return [], None
        return [part], np.array(feature, dtype=np.float32) if feature else None


class _Direct:
    """Asks a general embedding model, in the form that Qwen3-VL-Embedding was trained on."""

    path = "/v1/embeddings"

    def __init__(self, manifest: Manifest, embedding: Embedding) -> None:
        self._embedding = embedding
        self._pictures = FittedPictures(manifest.picture)
        self.picture_tokens = manifest.picture.width * manifest.picture.height // 256 + 2

    def body(self, item: ItemView, limit: int) -> tuple[dict[str, Any], Floats | None]:
        text = fitting.first_fitting((_words(lean) for lean in _leaner(item)), limit)
        content = [*picture_parts(item.image, self._pictures), text_part(text)]
        system = {"role": "system", "content": [text_part(self._embedding.instruction)]}
        turns = [{"role": "user", "content": content}, {"role": "assistant", "content": [text_part("")]}]
        return {
            "messages": [system, *turns] if self._embedding.instruction else turns,
            # The vector is that of the end of the conversation, where the model would begin to answer.
            "continue_final_message": True,
            "add_special_tokens": True,
            "encoding_format": "float",
        }, None

    def vector(self, answer: Any, _: Floats | None) -> Floats:
        wanted = self._embedding.dimensions
        try:
            full = np.array(answer["data"][0]["embedding"], dtype=np.float32)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadAnswer("malformed", f"no embedding: {str(error)[:200]}") from None
        if full.ndim != 1 or len(full) < wanted:
            raise BadAnswer("malformed", f"an embedding of the shape {full.shape}, and the version has {wanted}")
        vector = full[:wanted]
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0.0:
            raise BadAnswer("malformed", "the embedding has no direction")
        return np.asarray(vector / norm, dtype=np.float32)


def _request(manifest: Manifest, prompts: EmbedPrompts | None, head: Head | None) -> "_States | _Direct":
    assert manifest.embedding is not None  # noqa: S101 - checked by the caller
    if manifest.embedding.kind == "direct":
        return _Direct(manifest, manifest.embedding)
    if prompts is None or head is None:
        raise ManifestError(f"{manifest.id} lacks its prompts or its head")
    return _States(manifest, prompts, head)


def _words(item: ItemView) -> str:
    shown = item_texts(item, _TEXT)
    terms = ", ".join([*shown["genres"], *shown["tags"]])
    return "\n".join(text for text in (shown["title"], terms, shown["description"]) if text)


def _leaner(item: ItemView) -> Iterator[ItemView]:
    yield item
    yield replace(item, description="")
    yield replace(item, description="", tags=(), genres=())
