"""Items on the wire."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.http.batches import Rejection
from service.http.ids import Id
from service.http.wire import NOT_BLANK, check_bytes, null_is

ATTRIBUTES_BYTES = 4096

Title = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500, pattern=NOT_BLANK)]
Text = Annotated[str, StringConstraints(strict=True)]
Description = Annotated[str, StringConstraints(strict=True, max_length=10_000)]
Term = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100)]
Terms = Annotated[list[Term], Field(max_length=50, fail_fast=True)]

ITEM_EXAMPLE: dict[str, Any] = {
    "title": "Blue ceramic teapot",
    "description": "Holds one litre.",
    "genres": ["kitchen"],
    "tags": ["tea", "handmade"],
    "attributes": {"price": 39.5, "in_stock": True},
    "image_url": "https://example.com/teapot.jpg",
}
NAMED_ITEM_EXAMPLE: dict[str, Any] = {"item_id": "i7", **ITEM_EXAMPLE}


class ItemText(BaseModel):
    """The text and attributes of an item, except its title."""

    model_config = ConfigDict(extra="forbid")

    description: Annotated[Description, null_is(str, Description)] = ""
    genres: Annotated[Terms, null_is(list, Terms)] = Field(default_factory=list)
    tags: Annotated[Terms, null_is(list, Terms)] = Field(default_factory=list)
    attributes: dict[str, Any] | None = Field(None, description="Values for filtering; at most 4096 bytes of JSON.")


class ItemIn(ItemText):
    """An item. Without a picture field, an item keeps its picture; `null` removes it."""

    model_config = ConfigDict(extra="forbid", title="Item", json_schema_extra={"examples": [ITEM_EXAMPLE]})

    title: Title
    image_url: Text | None = Field(None, max_length=4096, description="http or https; a worker fetches it once.")
    image_base64: Text | None = Field(
        None, description="PNG, JPEG, WebP, GIF, AVIF, BMP or TIFF, in base64 or as a data URI."
    )


class NamedItemIn(ItemIn):
    """An item with its id."""

    model_config = ConfigDict(extra="forbid", title="NamedItem", json_schema_extra={"examples": [NAMED_ITEM_EXAMPLE]})

    item_id: Id


class ItemBatchIn(BaseModel):
    """Several items."""

    model_config = ConfigDict(extra="forbid", title="ItemBatch")

    items: list[NamedItemIn]


@dataclass(frozen=True, slots=True)
class ItemOut:
    """An item of the catalogue. `picture` is the SHA-256 of the stored picture, `summary` a model's description.

    `picture_error` says why the last picture was refused, or that it is `blank`. While `picture_pending`, the picture
    at the last URL is not fetched yet, and `picture` is the previous one.
    """

    item_id: str
    title: str
    description: str
    genres: list[str]
    tags: list[str]
    attributes: dict[str, Any]
    revision: int
    picture: str | None
    picture_error: str | None
    summary: str | None
    summary_model: str | None
    picture_pending: bool = False


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items in a stable order. `next_cursor` requests the next page; it is null on the last."""

    items: list[ItemOut]
    next_cursor: str | None


SimilarSource = Literal["cooccurrence", "embedding", "both"]
SimilarWarningCode = Literal["no_vector", "vectors_unavailable"]


@dataclass(frozen=True, slots=True)
class SimilarItem:
    """`source`: found by the likes of users, by its vector, or by both."""

    item_id: str
    title: str
    score: float
    source: SimilarSource = "cooccurrence"


@dataclass(frozen=True, slots=True)
class SimilarWarning:
    """Why items may be missing: a stable `code`, and a sentence."""

    code: SimilarWarningCode
    detail: str


@dataclass(frozen=True, slots=True)
class SimilarItems:
    """Items like `item_id`, best first, with scores of 0..1.

    Without an embedder, the score is the cosine of co-occurrence in users' likes. With one, it is a mean of
    co-occurrence, relative to the nearest item, and of the cosine of the items' vectors. The fewer users like
    `item_id`, the more the vectors count.
    """

    item_id: str
    items: list[SimilarItem]
    warnings: list[SimilarWarning]


@dataclass(frozen=True, slots=True)
class PictureError:
    """Why an item of a batch was stored without its picture, or with a warning."""

    index: int
    item_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class PendingPicture:
    """An item of a batch whose picture is not fetched yet; `GET` the item to see the result."""

    index: int
    item_id: str


@dataclass(frozen=True, slots=True)
class ItemBatchAnswer:
    """The outcome of a batch. `duplicates` counts items that a later one with the same id replaced."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]
    picture_errors: list[PictureError]
    pictures_pending: list[PendingPicture]


def check_attributes(text: ItemText, place: str = "") -> None:
    """Check the size of the attributes; `place` is the path of the item in the request.

    Raises:
        InvalidRequest: they take more than `ATTRIBUTES_BYTES`; `field` names them.
    """
    if text.attributes:
        check_bytes(text.attributes, ATTRIBUTES_BYTES, f"{place}attributes")
