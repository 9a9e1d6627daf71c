"""What a prompt may see of an item, of an interaction and of a user.

Training reads these from a dataset folder and the service from its state; both
hand them to the same templates, so that a model is asked in production exactly
as it was trained.
"""

from dataclasses import dataclass, replace

LIKED: frozenset[str] = frozenset({"like", "purchase", "click", "play", "save", "share", "cart"})
"""Event types that speak for an item."""
DISLIKED: frozenset[str] = frozenset({"dislike", "skip", "hide"})
"""Event types that speak against one; any other type says neither."""


@dataclass(frozen=True, slots=True)
class ItemView:
    """One item: its words, the summary derived from its picture, and the picture itself.

    `image` holds encoded picture bytes (PNG, JPEG or WebP), or None for an item without one.
    """

    title: str
    genres: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    description: str = ""
    summary: str = ""
    image: bytes | None = None

    def without_picture(self) -> "ItemView":
        return replace(self, image=None, summary="")

    def without_words(self) -> "ItemView":
        return replace(self, title="", genres=(), tags=(), description="")


@dataclass(frozen=True, slots=True)
class InteractionView:
    """One interaction as a prompt shows it; `item` is None while the catalogue lacks the item."""

    type: str
    item: ItemView | None


@dataclass(frozen=True, slots=True)
class UserView:
    """The user side of a ranking: preference summary ("" if there is none) and recents, oldest first."""

    summary: str = ""
    recents: tuple[InteractionView, ...] = ()
