"""Keeps a prompt within the model's length without a tokenizer, which the gateway does not have.

Lengths are counted in UTF-8 bytes, assuming `_BYTES_PER_TOKEN`. Byte-level tokenizers never need more than one token
per byte. When the server rejects a prompt as too long, the assumption is halved.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, repeat

from model_store.prompts import PromptSet
from model_store.registry.manifest import Serving
from model_store.views import InteractionView, ItemView, UserView

_BYTES_PER_TOKEN = (2.0, 1.0, 0.5)
_TEMPLATE_TOKENS = 48
_ITEM_SHARE = 0.4


def limits(serving: Serving, picture_tokens: int, answer_tokens: int) -> list[int]:
    """Bytes that the text of a prompt may take besides picture, template and answer: at first, and when retried."""
    tokens = serving.max_model_len - answer_tokens - picture_tokens - _TEMPLATE_TOKENS
    return [max(0, int(tokens * ratio)) for ratio in _BYTES_PER_TOKEN]


def first_fitting(texts: Iterable[str], limit: int) -> str:
    """The first of `texts` that takes at most `limit` bytes, otherwise the last."""
    text = ""
    for text in texts:
        if len(text.encode()) <= limit:
            break
    return text


def descriptions(prompts: PromptSet, item: ItemView) -> Iterator[str]:
    return (prompts.describe(lean) for lean in _leaner(item))


def summaries(prompts: PromptSet, summary: str, block: Sequence[InteractionView]) -> Iterator[str]:
    """All events stay; first their items are shortened, then the old summary."""
    lean = tuple(block)
    for lean in _leaner_block(block):
        yield prompts.summarize(summary, lean)
    for length in _halves(summary):
        yield prompts.summarize(summary[:length], lean)


def users(prompts: PromptSet, user: UserView) -> Iterator[str]:
    """Recents are dropped first, the oldest before the others, then the end of the summary."""
    recents = user.recents[-prompts.recents :]
    for start in range(len(recents) + 1):
        yield prompts.rank_user(replace(user, recents=recents[start:]))
    for length in _halves(user.summary):
        yield prompts.rank_user(UserView(user.summary[:length]))


def candidate(prompts: PromptSet, item: ItemView, limit: int) -> str:
    """The text of one candidate, which may take `_ITEM_SHARE` of the whole prompt."""
    return first_fitting((prompts.rank_item(lean) for lean in _leaner(item)), int(_ITEM_SHARE * limit))


def _leaner(item: ItemView) -> Iterator[ItemView]:
    yield item
    yield replace(item, description="")
    yield replace(item, description="", tags=(), summary="")
    yield ItemView(item.title, image=item.image, picture_tokens=item.picture_tokens)


def _leaner_block(block: Sequence[InteractionView]) -> Iterator[tuple[InteractionView, ...]]:
    # Lazily: nearly always the first fits.
    yield tuple(block)
    forms = [_leaner(event.item) if event.item else repeat(None, 4) for event in block]
    for level in islice(zip(*forms, strict=True), 1, None):
        yield tuple(replace(event, item=item) for event, item in zip(block, level, strict=True))


def _halves(text: str) -> Iterator[int]:
    length = len(text) // 2
    while length:
        yield length
        length //= 2
