"""The interactions that a model can be asked to predict, and the one that evaluation holds out."""

from collections.abc import Container, Sequence

from model_store.data.dataset import Interaction


def target_position(events: Sequence[Interaction], items: Container[str]) -> int | None:
    """The last of `target_positions`, which evaluation holds out; None without any."""
    return next(reversed(target_positions(events, items)), None)


def target_positions(events: Sequence[Interaction], items: Container[str]) -> list[int]:
    """The positions of the liked events, after the first, whose item is among `items` and new to the user.

    An item that the user met before is in the history that the model is shown: it would tell the target.
    """
    met: set[str] = set()
    found = []
    for position, event in enumerate(events):
        if position and event.item_id not in met and event.item_id in items and event.liked:
            found.append(position)
        met.add(event.item_id)
    return found
