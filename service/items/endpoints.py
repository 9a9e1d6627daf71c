"""The catalogue: `/items`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.errors import BatchTooLarge, ItemNotFound
from service.http.batches import read_batch
from service.http.ids import ItemPath, NewItemPath, require_meaning
from service.http.media import JSON, NDJSON
from service.http.openapi import json_body
from service.http.problems import BODY_ERRORS, COMMON_ERRORS, documented
from service.http.tenants import PerTenant
from service.http.wire import Json, read_json
from service.index.current import Vectors
from service.items.catalogue import Catalogue, item_out, read_item, read_items
from service.items.schemas import ITEM_EXAMPLE, NAMED_ITEM_EXAMPLE, ItemBatchAnswer, ItemOut, ItemPage, SimilarItems
from service.items.similar import similar
from service.settings.limits import LimitSettings
from service.state.store import Store

_ITEM_BODY = json_body(
    "ItemIn", item=("With a picture", ITEM_EXAMPLE), title=("Only what is required", {"title": "Iron kettle"})
)
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
                "examples": {"array": {"summary": "An array", "value": [NAMED_ITEM_EXAMPLE]}},
            },
            NDJSON: {
                "schema": {"type": "string"},
                "example": '{"item_id":"i7","title":"Blue ceramic teapot"}\n{"item_id":"i8","title":"Iron kettle"}\n',
            },
        },
    }
}


@dataclass(frozen=True, slots=True)
class Shelf:
    """What answers about the items of a tenant: its store, its vectors, and see `RecommendSettings` for the numbers."""

    store: Store
    vectors: Vectors
    similar_pivot: float
    same_at: float


def items_router(catalogues: PerTenant[Catalogue], shelves: PerTenant[Shelf], limits: LimitSettings) -> APIRouter:
    """The routes of the catalogue: `catalogues` write items, `shelves` read them."""
    router = APIRouter(tags=["items"], prefix="/items")

    @router.post(
        "",
        status_code=202,
        summary="Put many items",
        response_model=ItemBatchAnswer,
        responses=documented(BatchTooLarge, *BODY_ERRORS, *COMMON_ERRORS),
        openapi_extra=_BULK_BODY,
    )
    async def post_items(request: Request) -> Response:
        """Store items. Each is validated separately: valid ones are stored, the others listed in `rejected`.

        An item whose picture is refused is stored without it and listed in `picture_errors`. Pictures given by URL are
        fetched later; `pictures_pending` lists their items.
        """
        values = await read_batch(request, limits, limits.bulk_items, "items")
        acceptable, rejected = await read_items(values)
        return Json(await catalogues.of(request.scope).put_many(acceptable, rejected, request), 202)

    @router.get("", summary="List items", response_model=ItemPage, responses=documented(*COMMON_ERRORS))
    async def list_items(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of items.")] = 100,
        cursor: Annotated[str | None, Query(max_length=2048, description="`next_cursor` of the previous page.")] = None,
    ) -> Response:
        """A page of the catalogue, in a stable order."""
        page, next_cursor = await shelves.of(request.scope).store.items.page(limit, cursor)
        return Json(ItemPage([item_out(item) for item in page], next_cursor))

    @router.get(
        "/{item_id}/similar",
        summary="Similar items",
        response_model=SimilarItems,
        responses=documented(ItemNotFound, *COMMON_ERRORS),
    )
    async def similar_items(
        request: Request,
        item_id: ItemPath,
        k: Annotated[int, Query(ge=1, le=100, description="Maximum number of items.")] = 10,
    ) -> Response:
        """Items that the same users like, and items with a similar picture and text, best first.

        The second kind needs an embedder, and answers for items that nobody has met. Items that are nearly the same as
        a better one are left out.
        """
        shelf = shelves.of(request.scope)
        if (found := await similar(shelf.store, shelf.vectors, item_id, k, shelf.similar_pivot, shelf.same_at)) is None:
            raise _not_found(item_id)
        return Json(found)

    @router.put(
        "/{item_id}",
        summary="Put an item",
        response_model=ItemOut,
        responses={
            201: {"model": ItemOut, "description": "Created"},
            **documented(*BODY_ERRORS, *COMMON_ERRORS),
        },
        openapi_extra=_ITEM_BODY,
    )
    async def put_one_item(request: Request, item_id: NewItemPath) -> Response:
        """Store an item. Its text and attributes are replaced; its picture stays unless a picture field is given.

        A picture given by URL is fetched later, once. Until then `picture_pending` is true, and the previous picture
        stays. If a picture is refused, `picture_error` says why, and the item is stored without it.
        """
        require_meaning(item_id, "item_id")
        item = read_item(await read_json(request, limits))
        stored, created = await catalogues.of(request.scope).put(item_id, item, request)
        return Json(item_out(stored), 201 if created else 200)

    @router.get(
        "/{item_id}", summary="One item", response_model=ItemOut, responses=documented(ItemNotFound, *COMMON_ERRORS)
    )
    async def get_item(request: Request, item_id: ItemPath) -> Response:
        """The item, with the description that a model derived from its picture."""
        if (item := await shelves.of(request.scope).store.items.get(item_id)) is None:
            raise _not_found(item_id)
        return Json(item_out(item))

    @router.delete(
        "/{item_id}",
        summary="Delete an item",
        status_code=204,
        response_model=None,
        responses=documented(ItemNotFound, *COMMON_ERRORS),
    )
    async def delete_item(request: Request, item_id: ItemPath) -> Response:
        """Delete the item and its counts of likes and co-occurrence."""
        if not await catalogues.of(request.scope).delete(item_id):
            raise _not_found(item_id)
        return Response(status_code=204)

    return router


def _not_found(item_id: str) -> ItemNotFound:
    return ItemNotFound(f"no item {item_id!r}")
