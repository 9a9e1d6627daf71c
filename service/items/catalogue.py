"""Writes items: checks their fields, processes their pictures and stores both."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Request

from service.errors import InvalidRequest, TastestreamError
from service.http.batches import Rejection, reject
from service.http.client_closed import unless_closed
from service.http.ids import require_meaning
from service.http.wire import validate
from service.items.schemas import (
    ItemBatchAnswer,
    ItemIn,
    ItemOut,
    NamedItemIn,
    PendingPicture,
    PictureError,
    check_attributes,
)
from service.metrics import Metrics
from service.pictures.ingest import IngestResult, PictureIngest
from service.state.items import Items, Keep
from service.state.records import Item

AnyItem = TypeVar("AnyItem", bound=ItemIn)
_MAX_CONCURRENT_DECODES = 4
"""Pictures of one request that are decoded or wait for a decoder. More would hold up other requests."""
_CHECKED_AT_ONCE = 25
"""Items that are checked before other requests get their turn."""
_WRITTEN_AT_ONCE = 100
# A refused or pending picture does not replace the stored one.
_KEPT: Mapping[str, Keep] = {
    "stored": "nothing",
    "none": "nothing",
    "pending": "picture",
    "refused": "picture",
    "untouched": "both",
}


def read_item(raw: Any) -> ItemIn:
    """Check one item.

    Raises:
        InvalidRequest: a field is unknown, missing, wrong or too long.
    """
    return _checked(validate(ItemIn, raw))


async def read_items(raw: Sequence[Any]) -> tuple[dict[int, NamedItemIn], list[Rejection]]:
    """Check each item of a batch; returns the valid ones by index, and why the others were rejected.

    An exception in `raw` stands for a value that could not be parsed.
    """
    items: dict[int, NamedItemIn] = {}
    rejected: list[Rejection] = []
    for index, value in enumerate(raw):
        if index % _CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
        if isinstance(value, TastestreamError):
            rejected.append(reject(index, value))
            continue
        try:
            item = _checked(validate(NamedItemIn, value))
            require_meaning(item.item_id, "item_id")
            items[index] = item
        except TastestreamError as error:
            rejected.append(reject(index, error))
    return items, rejected


def _checked(item: AnyItem) -> AnyItem:
    if item.image_url is not None and item.image_base64 is not None:
        raise InvalidRequest("image_base64: give this or image_url, not both", field="image_base64")
    check_attributes(item)
    return item


class Catalogue:
    """Writes and deletes items with their pictures, and counts the outcomes."""

    def __init__(self, items: Items, pictures: PictureIngest, metrics: Metrics) -> None:
        self._items = items
        self._pictures = pictures
        self._metrics = metrics

    async def put(self, item_id: str, item: ItemIn, request: Request) -> tuple[Item, bool]:
        """Store one item; returns it and whether it is new.

        Raises:
            ClientClosedRequest: the client disconnected while the picture was decoded; nothing was stored.
            Overloaded: too many pictures wait to be decoded.
            StateUnavailable: the store or the picture folder can't be written.
        """
        if item.image_base64 is not None:
            picture = await unless_closed(request, self._pictures.take_base64(item.image_base64))
        else:
            picture = self._without_bytes(item)
        stored, created = await self._items.put(_record(item_id, item, picture), keep=_KEPT[picture.outcome])
        self._count([created])
        return stored, created

    async def put_many(
        self, items: Mapping[int, NamedItemIn], rejected: list[Rejection], request: Request
    ) -> ItemBatchAnswer:
        """Store a batch. Of several items with one id, only the last is stored.

        Args:
            items: the valid items by index.
            rejected: the others.

        Raises:
            ClientClosedRequest: the client disconnected while pictures were decoded; the other items were stored.
            InvalidRequest: no item is valid.
            Overloaded: too many pictures wait to be decoded; the items of all other pictures were stored.
            StateUnavailable: the store or the picture folder can't be written; some items may have been stored.
        """
        if not items:
            self._count_rejected(rejected)
            raise _nothing_acceptable(rejected)
        last = {item.item_id: index for index, item in items.items()}
        results: dict[int, IngestResult] = {}
        # Without tasks: one would cost more than all other work on an item without picture bytes.
        for number, index in enumerate(last.values()):
            if number % _CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if items[index].image_base64 is None:
                results[index] = self._without_bytes(items[index])
        await self._write([(items[index], one) for index, one in results.items()])
        if with_bytes := [index for index in last.values() if index not in results]:
            results |= await unless_closed(request, self._decode(with_bytes, items))
        self._count_rejected(rejected)
        named = [(index, item_id, results[index]) for item_id, index in last.items()]
        errors = [PictureError(index, item_id, one.error) for index, item_id, one in named if one.error is not None]
        pending = [PendingPicture(index, item_id) for index, item_id, one in named if one.outcome == "pending"]
        return ItemBatchAnswer(len(last), len(items) - len(last), rejected, errors, pending)

    async def delete(self, item_id: str) -> bool:
        """Delete an item; returns whether it existed.

        Raises:
            StateUnavailable: the store can't be written.
        """
        deleted = await self._items.delete(item_id)
        if deleted:
            self._metrics.items.labels("deleted").inc()
        return deleted

    def _without_bytes(self, item: ItemIn) -> IngestResult:
        if item.image_url is not None:
            return self._pictures.take_url(item.image_url)
        return IngestResult("none" if item.model_fields_set & {"image_url", "image_base64"} else "untouched")

    async def _decode(self, indices: Sequence[int], items: Mapping[int, NamedItemIn]) -> dict[int, IngestResult]:
        """Decode the pictures of these items and store the items, also if a picture of another item fails."""
        slots = asyncio.Semaphore(_MAX_CONCURRENT_DECODES)

        async def decode(item: ItemIn) -> IngestResult:
            async with slots:
                return await self._pictures.take_base64(item.image_base64 or "")

        decoded = await asyncio.gather(*(decode(items[index]) for index in indices), return_exceptions=True)
        results = {index: one for index, one in zip(indices, decoded, strict=True) if isinstance(one, IngestResult)}
        await self._write([(items[index], one) for index, one in results.items()])
        for one in decoded:
            if isinstance(one, BaseException):
                raise one
        return results

    async def _write(self, items: Sequence[tuple[NamedItemIn, IngestResult]]) -> None:
        groups: dict[Keep, list[Item]] = {}
        for item, picture in items:
            groups.setdefault(_KEPT[picture.outcome], []).append(_record(item.item_id, item, picture))
        for keep, group in groups.items():
            for start in range(0, len(group), _WRITTEN_AT_ONCE):
                self._count(await self._items.put_many(group[start : start + _WRITTEN_AT_ONCE], keep=keep))

    def _count(self, created: Sequence[bool]) -> None:
        for result, number in (("created", sum(created)), ("updated", len(created) - sum(created))):
            if number:
                self._metrics.items.labels(result).inc(number)

    def _count_rejected(self, rejected: Sequence[Rejection]) -> None:
        if rejected:
            self._metrics.items.labels("rejected").inc(len(rejected))


def _nothing_acceptable(rejected: Sequence[Rejection]) -> InvalidRequest:
    first = rejected[0]
    detail = f"nothing was acceptable; item {first.index}: {first.detail}"
    extensions = {"accepted": 0, "duplicates": 0, "rejected": rejected}
    return InvalidRequest(detail, field=first.field, extensions=extensions)


def _record(item_id: str, item: ItemIn, picture: IngestResult) -> Item:
    return Item(
        item_id=item_id,
        title=item.title,
        description=item.description,
        genres=tuple(item.genres),
        tags=tuple(item.tags),
        attributes=item.attributes,
        picture=picture.picture,
        picture_error=picture.error,
        picture_url=picture.url,
    )


def item_out(item: Item) -> ItemOut:
    return ItemOut(
        item_id=item.item_id,
        title=item.title,
        description=item.description,
        genres=list(item.genres),
        tags=list(item.tags),
        attributes=dict(item.attributes or {}),
        revision=item.revision,
        picture=item.picture,
        picture_error=item.picture_error,
        summary=item.summary or None,
        summary_model=item.summary_model or None,
        picture_pending=item.picture_url is not None,
    )
