"""What a prompt may see of an item, of an interaction and of a user.

Training reads these from a dataset folder and the service from its state; both
hand them to the same templates, so that a model is asked in production exactly
as it was trained.
"""

from dataclasses import dataclass, replace


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
    """One interaction; `item` is None while the catalogue lacks the item, `value` what a rating says."""

    type: str
    item: ItemView | None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class UserView:
    """The user side of a ranking: preference summary ("" if there is none) and recents, oldest first.

    `context` has names and values of the situation, such as the device.
    """

    summary: str = ""
    recents: tuple[InteractionView, ...] = ()
    context: tuple[tuple[str, str], ...] = ()
