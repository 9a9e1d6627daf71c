"""Keeping a prompt within the model's length without a tokenizer at hand.

The gateway has no tokenizer, so lengths are counted in UTF-8 bytes and a token is taken to be
`BYTES_PER_TOKEN` of them. Byte-level tokenizers never need more than one token per byte, so a
prompt that the server still refuses is asked again with the assumption halved.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, repeat

from model_store.pictures import PictureSize
from model_store.prompts import PromptSet
from model_store.registry.manifest import Serving
from model_store.views import InteractionView, ItemView, UserView

BYTES_PER_TOKEN = (2.0, 1.0, 0.5)
"""First assumption, and those tried after a refusal."""

_TEMPLATE_TOKENS = 48
_PATCH_PIXELS = 256
_ITEM_SHARE = 0.4


def budget(serving: Serving, picture: PictureSize, answer_tokens: int, bytes_per_token: float) -> int:
    """Bytes that the words of a prompt may take beside its picture, its chat template and its answer."""
    picture_tokens = picture.width * picture.height // _PATCH_PIXELS + 2
    tokens = serving.max_model_len - answer_tokens - picture_tokens - _TEMPLATE_TOKENS
    return max(0, int(tokens * bytes_per_token))


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
    """All events stay; their items lose words first, then the old summary does."""
    lean = tuple(block)
    for lean in _leaner_block(block):
        yield prompts.summarize(summary, lean)
    for length in _halves(summary):
        yield prompts.summarize(summary[:length], lean)


def users(prompts: PromptSet, user: UserView) -> Iterator[str]:
    """Recents go first, the oldest before the others, then the end of the summary."""
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
    yield ItemView(item.title, image=item.image)


def _leaner_block(block: Sequence[InteractionView]) -> Iterator[tuple[InteractionView, ...]]:
    """Made one by one: nearly always the first fits."""
    yield tuple(block)
    forms = [_leaner(event.item) if event.item else repeat(None, 4) for event in block]
    for level in islice(zip(*forms, strict=True), 1, None):
        yield tuple(replace(event, item=item) for event, item in zip(block, level, strict=True))


def _halves(text: str) -> Iterator[int]:
    length = len(text) // 2
    while length:
        yield length
        length //= 2
