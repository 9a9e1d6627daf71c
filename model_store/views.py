"""What a prompt may see of an item, of an interaction and of a user.

Training reads these from a dataset folder and the service from its state. Both use the same
templates: the prompts in production are exactly those of training.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ItemView:
    """One item: its texts, the summary derived from its picture, and the encoded picture (PNG, JPEG or WebP).

    A model that can't see pictures is shown `picture_tokens` instead, see `soft_tokens`.
    """

    title: str
    genres: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    description: str = ""
    summary: str = ""
    image: bytes | None = None
    picture_tokens: bytes | None = None

    def without_picture(self) -> "ItemView":
        return replace(self, image=None, picture_tokens=None, summary="")

    def without_words(self) -> "ItemView":
        return replace(self, title="", genres=(), tags=(), description="")


@dataclass(frozen=True, slots=True)
class InteractionView:
    """One interaction; `item` is None if it is not in the catalogue, `value` is that of a rating."""

    type: str
    item: ItemView | None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class UserView:
    """The user side of a ranking: preference summary (or ""), recents, oldest first, and the context of the request.

    `context` has names and values, such as the device.
    """

    summary: str = ""
    recents: tuple[InteractionView, ...] = ()
    context: tuple[tuple[str, str], ...] = ()
