"""The catalogue: `/items`."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.errors import (
    BatchTooLarge,
    BodyTimeout,
    BodyTooLarge,
    InvalidRequest,
    ItemNotFound,
    MalformedBody,
    Overloaded,
    StateUnavailable,
    Unauthorized,
    UnsupportedMedia,
)
from service.http.batches import read_batch
from service.http.hangup import unless_hung_up
from service.http.ids import ItemPath, NewItemPath, require_meaning
from service.http.problems import documented
from service.http.wire import JSON, NDJSON, Json, read_json
from service.items.catalogue import item_out, put_item, put_items, read_item, read_items
from service.items.schemas import (
    ITEM_EXAMPLE,
    ItemBatchAnswer,
    ItemOut,
    ItemPage,
    SimilarItem,
    SimilarItems,
)
from service.parts import parts_of

router = APIRouter(tags=["items"], prefix="/items")

_COMMON = (InvalidRequest, Unauthorized, Overloaded, StateUnavailable)
_BODIES = (MalformedBody, BodyTimeout, BodyTooLarge, UnsupportedMedia)
_NAMED_EXAMPLE = {"item_id": "i7", **ITEM_EXAMPLE}
_ITEM_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/ItemIn"},
                "examples": {
                    "item": {"summary": "With a picture", "value": ITEM_EXAMPLE},
                    "title": {"summary": "The least", "value": {"title": "Iron kettle"}},
                },
            }
        },
    }
}
_BULK_BODY = {
    "requestBody": {
        "required": True,
        "description": "An array, an object with `items`, one item, or newline-delimited JSON.",
        "content": {
            JSON: {
                "schema": {
                    "anyOf": [
                        {"type": "array", "items": {"$ref": "#/components/schemas/NamedItemIn"}, "minItems": 1},
                        {"$ref": "#/components/schemas/ItemBatchIn"},
                        {"$ref": "#/components/schemas/NamedItemIn"},
                    ]
                },
                "examples": {"array": {"summary": "An array", "value": [_NAMED_EXAMPLE]}},
            },
            NDJSON: {
                "schema": {"type": "string"},
                "example": '{"item_id":"i7","title":"Blue ceramic teapot"}\n{"item_id":"i8","title":"Iron kettle"}\n',
            },
        },
    }
}


@router.post(
    "",
    status_code=202,
    summary="Put many items",
    response_model=ItemBatchAnswer,
    responses=documented(BatchTooLarge, *_BODIES, *_COMMON),
    openapi_extra=_BULK_BODY,
)
async def post_items(request: Request) -> Response:
    """Store items. Each is checked by itself: good ones are stored, the others listed in `rejected`.

    A picture that can't be taken is no reason to reject its item; `picture_errors` lists those. Pictures given by URL
    are fetched afterwards; `pictures_pending` lists their items.
    """
    parts = parts_of(request)
    limits = parts.settings.limits
    items, rejected = await read_items(await read_batch(request, limits, limits.bulk_items, "items"), limits)
    if not items:
        parts.metrics.items.labels("rejected").inc(len(rejected))
        first = rejected[0]
        detail = f"nothing was acceptable; item {first.index}: {first.detail}"
        members = {"accepted": 0, "duplicates": 0, "rejected": rejected}
        raise InvalidRequest(detail, field=first.field, members=members)
    return Json(await put_items(items, rejected, parts, partial(unless_hung_up, request)), 202)


@router.get("", summary="List items", response_model=ItemPage, responses=documented(*_COMMON))
async def list_items(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000, description="The most items in the answer.")] = 100,
    cursor: Annotated[str | None, Query(max_length=2048, description="`next_cursor` of the page before.")] = None,
) -> Response:
    """A page of the catalogue, in a stable order."""
    items, next_cursor = await parts_of(request).store.items.page(limit, cursor)
    return Json(ItemPage([item_out(item) for item in items], next_cursor))


@router.get(
    "/{item_id}/similar",
    summary="Items taken together with this one",
    response_model=SimilarItems,
    responses=documented(ItemNotFound, *_COMMON),
)
async def similar_items(
    request: Request,
    item_id: ItemPath,
    k: Annotated[int, Query(ge=1, le=100, description="The most items in the answer.")] = 10,
) -> Response:
    """The nearest items by co-occurrence in the same users' likes, best first; empty while there are none."""
    store = parts_of(request).store
    near = await store.evidence.neighbours([item_id], k)
    items = await store.items.get_many([item_id, *near])
    if item_id not in items:
        raise _not_found(item_id)
    scores = await store.evidence.collaborative([item_id], near)
    found = [SimilarItem(one, items[one].title, scores[one]) for one in near if one in items]
    return Json(SimilarItems(item_id, found))


@router.put(
    "/{item_id}",
    summary="Put an item",
    response_model=ItemOut,
    responses={
        201: {"model": ItemOut, "description": "Created"},
        **documented(*_BODIES, *_COMMON),
    },
    openapi_extra=_ITEM_BODY,
)
async def put_one_item(request: Request, item_id: NewItemPath) -> Response:
    """Store an item. Its words are replaced; its picture stays unless a picture field is given.

    A picture given by URL is fetched afterwards, once: `picture_pending` until then, and the picture before stays. One
    that is refused is named in `picture_error`; the item is kept without it.
    """
    require_meaning(item_id, "item_id")
    parts = parts_of(request)
    given = read_item(await read_json(request, parts.settings.limits), parts.settings.limits)
    stored, created = await put_item(item_id, given, parts, partial(unless_hung_up, request))
    return Json(item_out(stored), 201 if created else 200)


@router.get("/{item_id}", summary="One item", response_model=ItemOut, responses=documented(ItemNotFound, *_COMMON))
async def get_item(request: Request, item_id: ItemPath) -> Response:
    """The item with what the service derived from its picture."""
    item = await parts_of(request).store.items.get(item_id)
    if item is None:
        raise _not_found(item_id)
    return Json(item_out(item))


@router.delete(
    "/{item_id}",
    summary="Remove an item",
    status_code=204,
    response_model=None,
    responses=documented(ItemNotFound, *_COMMON),
)
async def delete_item(request: Request, item_id: ItemPath) -> Response:
    """Remove the item and what was counted about it."""
    parts = parts_of(request)
    if not await parts.store.items.delete(item_id):
        raise _not_found(item_id)
    parts.metrics.items.labels("deleted").inc()
    return Response(status_code=204)


def _not_found(item_id: str) -> ItemNotFound:
    return ItemNotFound(f"no item {item_id!r}")
