"""What the drawing of examples needs from a model's way to write prompts as token ids."""

from collections.abc import Sequence
from typing import Protocol

from model_store.views import InteractionView, ItemView, UserView


class PromptEncoder(Protocol):
    """Renders and tokenizes the prompts of the three jobs; each method returns ids of shape (length,)."""

    def describe(self, item: ItemView) -> list[int]: ...

    def summarize(self, summary: str, block: Sequence[InteractionView]) -> list[int]: ...

    def rank_user(self, user: UserView) -> list[int]: ...

    def rank_item(self, item: ItemView) -> list[int]: ...

    def answer(self, text: str) -> list[int]: ...
