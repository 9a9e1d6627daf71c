"""Writes the prompts of a text LLM with soft tokens as token ids, exactly as vLLM does for the same message.

One user message has up to three parts, which vLLM joins by a newline: the user's text, the picture's soft tokens, and
the candidate's text. A soft token splits the text like a special token does, so every piece is tokenized alone.
"""

from collections.abc import Sequence
from typing import Any

from model_store.errors import UserError
from model_store.prompts import PromptSet
from model_store.registry.manifest import Labels
from model_store.views import InteractionView, ItemView, UserView

SOFT = -1
"""The placeholder id of a soft token; no token has it."""
YES, NO = "yes", "no"
_CONTENT = "<content>"


class TokenizerError(UserError):
    """The tokenizer of a language model can't be used for ranking; the message says why."""


class SoftTokenEncoder:
    """Renders and tokenizes the prompts of the three jobs.

    A picture, which an item has unless its `image` is None, is `count` times the id `SOFT`.

    Raises:
        TokenizerError: there is no chat template or it does not render a message once, a label is not a single token,
            or a prompt can't be cut between user and candidate.
    """

    def __init__(self, tokenizer: Any, prompts: PromptSet, count: int) -> None:
        self.tokenizer, self.prompts, self.count = tokenizer, prompts, count
        if not tokenizer.chat_template:
            raise TokenizerError("the language model's tokenizer has no chat template: take an instruct model")
        pieces = self._rendered(_CONTENT).split(_CONTENT)
        if len(pieces) != 2:
            raise TokenizerError(f"the chat template renders a message {len(pieces) - 1} times, not once")
        self._head, self._tail = pieces
        self.labels = Labels(yes=YES, no=NO, yes_id=self._label(YES), no_id=self._label(NO))
        self._check_cut()

    def describe(self, item: ItemView) -> list[int]:
        """Ids of shape (length,): the request for an item summary."""
        return [*self.ids(self._head), *self.describe_item(item)]

    def describe_item(self, item: ItemView) -> list[int]:
        """The same without what comes before the message, which all requests share."""
        soft = [*[SOFT] * self.count, *self.ids("\n")] if item.image is not None else []
        return [*soft, *self.ids(self.prompts.describe(item) + self._tail)]

    @property
    def head(self) -> list[int]:
        """What comes before a message."""
        return self.ids(self._head)

    def summarize(self, summary: str, block: Sequence[InteractionView]) -> list[int]:
        """Ids of shape (length,): the request for the summary that follows `summary`."""
        return self.ids(self._head + self.prompts.summarize(summary, block) + self._tail)

    def rank_user(self, user: UserView) -> list[int]:
        """Ids of shape (length,): the prefix that all candidates of a user share."""
        return self.ids(self._head + self.prompts.rank_user(user))

    def rank_item(self, item: ItemView) -> list[int]:
        """Ids of shape (length,): one candidate, up to the position of the answer."""
        soft = [*self.ids("\n"), *[SOFT] * self.count] if item.image is not None else []
        return [*soft, *self.ids("\n" + self.prompts.rank_item(item) + self._tail)]

    def answer(self, text: str) -> list[int]:
        """Ids of shape (length,): the expected answer, with the end mark."""
        return [*self.ids(text), int(self.tokenizer.eos_token_id)]

    def ids(self, text: str) -> list[int]:
        """The tokens of a text that may have special ones."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _rendered(self, content: str) -> str:
        messages = [{"role": "user", "content": content}]
        rendered: str = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return rendered

    def _label(self, word: str) -> int:
        before, both = self.ids(self._tail), self.ids(self._tail + word)
        if both[:-1] != before:
            raise TokenizerError(f"the label {word!r} is not a single token after the language model's chat template")
        return both[-1]

    def _check_cut(self) -> None:
        user, item = UserView("Likes jazz."), ItemView("A film (1995)", ("Drama",))
        whole = self.ids(self._rendered(f"{self.prompts.rank_user(user)}\n{self.prompts.rank_item(item)}"))
        if whole != self.rank_user(user) + self.rank_item(item):
            raise TokenizerError("the tokenizer joins the end of a user's prompt with the start of a candidate's")
