"""What a method shows to the models: the whole of production, or without one part of it (an ablation)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from model_store.views import InteractionView, ItemView

BLOCK = 3
"""Events in one fold, the default of the service."""
Recents = Literal["prompt", "none", "all"]


@dataclass(frozen=True, slots=True)
class Folding:
    """How a history becomes a summary. `block` events at a time, recurrently; None folds the whole history at once."""

    block: int | None = BLOCK

    def __str__(self) -> str:
        return "direct" if self.block is None else f"recurrent, blocks of {self.block}"


RECURRENT = Folding()


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to ask.

    Attributes:
        folding: None shows no summary.
        recents: as many as the version's prompts show, none, or the whole history.
        picture: whether the ranker sees the candidate's picture.
        item_summary: whether any prompt has the text that was made from an item's picture.
    """

    folding: Folding | None = RECURRENT
    recents: Recents = "prompt"
    picture: bool = True
    item_summary: bool = True

    def item(self, view: ItemView) -> ItemView:
        """The candidate as this condition shows it."""
        shown = view if self.picture else replace(view, image=None, picture_tokens=None)
        return shown if self.item_summary else replace(shown, summary="")

    def history(self, events: Iterable[InteractionView]) -> tuple[InteractionView, ...]:
        """A history for summaries and recents, whose prompts never have pictures."""
        return tuple(self._event(event) for event in events)

    def _event(self, event: InteractionView) -> InteractionView:
        if event.item is None:
            return event
        summary = event.item.summary if self.item_summary else ""
        return replace(event, item=replace(event.item, image=None, summary=summary))


def ablations(block: Folding, *, pictures: bool, block_sizes: Sequence[int]) -> dict[str, Condition]:
    """Every ablation by the name that tables give it; those of pictures only for data that has some."""
    full = Condition(block)
    found = {
        "summary only": replace(full, recents="none"),
        "recents only": replace(full, folding=None),
        "neither summary nor recents": replace(full, folding=None, recents="none"),
    }
    if block.block is not None:
        found["direct summary"] = replace(full, folding=Folding(None))
    if pictures:
        found["without picture"] = replace(full, picture=False)
        found["without item summary"] = replace(full, item_summary=False)
        found["text only"] = replace(full, picture=False, item_summary=False)
    for size in block_sizes:
        if size != block.block:
            found[f"blocks of {size}"] = replace(full, folding=Folding(size))
    return found
