"""Encodes items, blocks and users as token ids, exactly as vLLM does for the same request.

The generating jobs use the tokenizer's chat template; vLLM puts a message's picture on a separate
line before its text. The ranker uses `score.jinja`, where vLLM puts a document's picture directly
before its text.
"""

import math
from collections.abc import Sequence
from typing import Any

from model_store.msr.scratch.architecture import END, IMAGE, NO, VISION_END, VISION_START, YES, Sizes
from model_store.prompts import PromptSet
from model_store.views import InteractionView, ItemView, UserView

_DOCUMENT = "<document>"


class Encoder:
    """Renders and tokenizes the prompts of the three jobs.

    A picture, which an item has unless its `image` is None, is the id `image_id` for each token of `sizes.token_grid`.

    Raises:
        ValueError: `yes` or `no` is not a single token.
    """

    def __init__(self, tokenizer: Any, prompts: PromptSet, sizes: Sizes) -> None:
        self.tokenizer = tokenizer
        self.prompts = prompts
        self.image_id: int = tokenizer.convert_tokens_to_ids(IMAGE)
        self.end_id: int = tokenizer.convert_tokens_to_ids(END)
        self.yes_id, self.no_id = self._label(YES), self._label(NO)
        self._picture = VISION_START + IMAGE * math.prod(sizes.token_grid) + VISION_END
        self._score_template = prompts.score_template.read_text()
        self._head, self._tail = self._score("", _DOCUMENT).split(_DOCUMENT)
        self._before_user = self._score(_DOCUMENT, "").split(_DOCUMENT)[0]

    def describe(self, item: ItemView) -> list[int]:
        """Ids of shape (length,): the request for an item summary."""
        return self._chat(self.prompts.describe(item), item)

    def summarize(self, summary: str, block: Sequence[InteractionView]) -> list[int]:
        """Ids of shape (length,): the request for the summary that follows `summary`."""
        return self._chat(self.prompts.summarize(summary, block), None)

    def rank_user(self, user: UserView) -> list[int]:
        """Ids of shape (length,): the prefix that all candidates of a user share."""
        text = self.prompts.rank_user(user)
        return self._ids(self._before_user + text + self._head[len(self._before_user) :])

    def rank_item(self, item: ItemView) -> list[int]:
        """Ids of shape (length,): one candidate, up to the position of the answer."""
        picture = self._picture if item.image is not None else ""
        return self._ids(picture + self.prompts.rank_item(item) + self._tail)

    def answer(self, text: str) -> list[int]:
        """Ids of shape (length,): the expected answer, with the end mark."""
        return [*self._ids(text), self.end_id]

    def _chat(self, text: str, item: ItemView | None) -> list[int]:
        content = text if item is None or item.image is None else f"{self._picture}\n{text}"
        messages = [{"role": "user", "content": content}]
        return self._ids(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _score(self, query: str, document: str) -> str:
        messages = [{"role": "query", "content": query}, {"role": "document", "content": document}]
        rendered: str = self.tokenizer.apply_chat_template(messages, chat_template=self._score_template, tokenize=False)
        return rendered

    def _label(self, word: str) -> int:
        ids = self._ids(word)
        if len(ids) != 1:
            raise ValueError(f"the label {word!r} is {len(ids)} tokens, not one")
        return ids[0]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids
