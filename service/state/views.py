"""Converts the store's records to what a prompt may show."""

from collections.abc import Iterable, Mapping

from model_store.views import InteractionView, ItemView, UserView
from service.state.records import Event, Item, UserState


def item_view(item: Item, image: bytes | None = None, picture_tokens: bytes | None = None) -> ItemView:
    """The item as prompts show it, with the bytes of its stored picture or of its soft tokens, if they were read."""
    return ItemView(
        title=item.title,
        genres=item.genres,
        tags=item.tags,
        description=item.description,
        summary=item.summary,
        image=image,
        picture_tokens=picture_tokens,
    )


def interaction_views(events: Iterable[Event], items: Mapping[str, Item]) -> tuple[InteractionView, ...]:
    """The events in their order; those whose item is not in `items` are shown without an item."""
    return tuple(
        InteractionView(event.type, item_view(items[event.item_id]) if event.item_id in items else None, event.value)
        for event in events
    )


def user_view(
    state: UserState, items: Mapping[str, Item], recents: int, context: tuple[tuple[str, str], ...] = ()
) -> UserView:
    """The user with the last `recents` interactions, oldest first; `items` holds their items by id."""
    shown = state.recents[-recents:] if recents > 0 else ()
    return UserView(state.summary.text if state.summary else "", interaction_views(shown, items), context)
