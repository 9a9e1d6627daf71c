"""Writing items: their words are checked, their pictures taken in, then both are stored."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from service.errors import InvalidRequest, TastestreamError
from service.http.batches import Rejection, reject
from service.http.ids import require_meaning
from service.http.wire import validate
from service.items.intake import Given, brings_bytes
from service.items.schemas import (
    ItemBatchAnswer,
    ItemIn,
    ItemOut,
    NamedItemIn,
    PendingPicture,
    PictureError,
    check_words,
)
from service.parts import Parts
from service.settings import LimitSettings
from service.state.items import Keep
from service.state.records import Item

AnyItem = TypeVar("AnyItem", bound=ItemIn)
T = TypeVar("T")
_TAKEN_AT_ONCE = 4
"""Pictures of one request that are decoded or wait for it: those of others wait for no more than these."""
_CHECKED_AT_ONCE = 25
"""Then others get their turn."""
_WRITTEN_AT_ONCE = 100
# A picture that can't be had now is no reason to lose the one that could be had before.
_KEPT: Mapping[str, Keep] = {
    "stored": "nothing",
    "none": "nothing",
    "pending": "picture",
    "refused": "picture",
    "untouched": "both",
}


class WhileThere(Protocol):
    """Runs work for a caller; see `service.http.hangup`."""

    async def __call__(self, work: Coroutine[Any, Any, T]) -> T: ...


def read_item(raw: Any, limits: LimitSettings) -> ItemIn:
    """Check one item.

    Raises:
        InvalidRequest: a field is unknown, missing, wrong or too long.
    """
    return _checked(validate(ItemIn, raw), limits)


async def read_items(raw: Sequence[Any], limits: LimitSettings) -> tuple[dict[int, NamedItemIn], list[Rejection]]:
    """Check each item of a batch; the good ones by their index, and why the others were rejected.

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
            item = _checked(validate(NamedItemIn, value), limits)
            require_meaning(item.item_id, "item_id")
            items[index] = item
        except TastestreamError as error:
            rejected.append(reject(index, error))
    return items, rejected


def _checked(item: AnyItem, limits: LimitSettings) -> AnyItem:
    if item.image_url is not None and item.image_base64 is not None:
        raise InvalidRequest("image_base64: give this or image_url, not both", field="image_base64")
    check_words(item, item.title, limits)
    return item


async def put_item(item_id: str, given: ItemIn, parts: Parts, while_there: WhileThere) -> tuple[Item, bool]:
    """Store one item; returns it and whether it is new.

    Args:
        while_there: runs the decoding of pictures; a caller who leaves meanwhile ends it.

    Raises:
        StateUnavailable: the store or the picture folder can't be written.
    """
    taken = await while_there(parts.intake.take(given)) if brings_bytes(given) else parts.intake.look(given)
    item = _item(item_id, given, taken)
    stored, created = await parts.store.items.put(item, keep=_KEPT[taken.outcome])
    _count([created], parts)
    return stored, created


async def put_items(
    items: Mapping[int, NamedItemIn], rejected: list[Rejection], parts: Parts, while_there: WhileThere
) -> ItemBatchAnswer:
    """Store a batch. Of several items with one id, the last counts.

    Args:
        while_there: runs the decoding of pictures; a caller who leaves meanwhile finds the other items stored.

    Raises:
        Overloaded: too many pictures wait to be decoded; the items of all others were stored.
        StateUnavailable: the store or the picture folder can't be written; some items may have been.
    """
    last = {item.item_id: index for index, item in items.items()}
    given: dict[int, Given] = {}
    for number, index in enumerate(last.values()):
        if number % _CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
        if not brings_bytes(items[index]):
            given[index] = parts.intake.look(items[index])
    await _write([(items[index], one) for index, one in given.items()], parts)
    if with_bytes := [index for index in last.values() if index not in given]:
        given |= await while_there(_take(with_bytes, items, parts))
    if rejected:
        parts.metrics.items.labels("rejected").inc(len(rejected))
    named = [(index, item_id, given[index]) for item_id, index in last.items()]
    errors = [PictureError(index, item_id, one.error) for index, item_id, one in named if one.error is not None]
    pending = [PendingPicture(index, item_id) for index, item_id, one in named if one.outcome == "pending"]
    return ItemBatchAnswer(len(last), len(items) - len(last), rejected, errors, pending)


async def _take(indices: Sequence[int], items: Mapping[int, NamedItemIn], parts: Parts) -> dict[int, Given]:
    """Decode the pictures of these items and store the items; one that fails costs no other."""
    slots = asyncio.Semaphore(_TAKEN_AT_ONCE)

    async def take(item: ItemIn) -> Given:
        async with slots:
            return await parts.intake.take(item)

    # A task for each would cost more than all else that is done for an item without a picture.
    taken = await asyncio.gather(*(take(items[index]) for index in indices), return_exceptions=True)
    given = {index: one for index, one in zip(indices, taken, strict=True) if isinstance(one, Given)}
    await _write([(items[index], one) for index, one in given.items()], parts)
    for one in taken:
        if isinstance(one, BaseException):
            raise one
    return given


async def _write(items: Sequence[tuple[NamedItemIn, Given]], parts: Parts) -> None:
    groups: dict[Keep, list[Item]] = {}
    for item, given in items:
        groups.setdefault(_KEPT[given.outcome], []).append(_item(item.item_id, item, given))
    for keep, group in groups.items():
        for start in range(0, len(group), _WRITTEN_AT_ONCE):
            _count(await parts.store.items.put_many(group[start : start + _WRITTEN_AT_ONCE], keep=keep), parts)


def _item(item_id: str, item: ItemIn, given: Given) -> Item:
    return Item(
        item_id=item_id,
        title=item.title,
        description=item.description,
        genres=tuple(item.genres),
        tags=tuple(item.tags),
        attributes=item.attributes,
        picture=given.picture,
        picture_error=given.error,
        picture_url=given.url,
    )


def _count(created: Sequence[bool], parts: Parts) -> None:
    for result, number in (("created", sum(created)), ("updated", len(created) - sum(created))):
        if number:
            parts.metrics.items.labels(result).inc(number)


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
