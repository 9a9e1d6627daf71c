"""The interaction that evaluation holds out of a history."""

from collections.abc import Container, Sequence

from model_store.data.dataset import Interaction


def target_position(events: Sequence[Interaction], items: Container[str]) -> int | None:
    """The position of the last liked event, after the first, whose item is among `items` and new to the user."""
    first_met: dict[str, int] = {}
    for position, event in enumerate(events):
        first_met.setdefault(event.item_id, position)
    for position in range(len(events) - 1, 0, -1):
        event = events[position]
        if event.liked and event.item_id in items and first_met[event.item_id] == position:
            return position
    return None
