"""The catalogue (invariant I4)."""

import base64
import binascii
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any, Literal

import orjson

from service.errors import InvalidRequest
from service.state import deleted_items, encoding
from service.state.early import Early
from service.state.keys import BucketKeys, Field, Keys, term_name, term_names
from service.state.new_items import NewItems
from service.state.reads import Read, alone
from service.state.records import Item
from service.state.redis.client import Argument
from service.state.redis.scripts import Call, Scripts

BUCKETS_PER_CALL = 8
PICTURES_PER_PAGE = 1000
Keep = Literal["nothing", "picture", "both"]
"""What a write keeps: the stored picture (`picture`), or also the error and URL of the one given last (`both`)."""


class Items:
    def __init__(self, scripts: Scripts, keys: Keys, early: Early, new: NewItems) -> None:
        self._scripts = scripts
        self._early = early
        self._new = new
        self._keys = keys

    async def put(self, item: Item, *, keep: Keep = "nothing") -> tuple[Item, bool]:
        """Write words, attributes and picture of `item`; the store sets revision and summary.

        A change makes a new revision. A change of words or picture voids the summary, and an item with a picture is
        then described again. An item with a `picture_url` is first put into the queue of pictures to fetch; keep the
        `picture` during that time.

        Returns:
            The item as stored, and whether it is new.
        """
        ((created, fields),) = await self._write([item], keep, returned=True)
        return encoding.item(item.item_id, dict(encoding.pairs(fields))), bool(created)

    async def put_many(self, items: Sequence[Item], *, keep: Keep = "nothing") -> list[bool]:
        """Like `put`, in one round trip; returns whether each is new. Only the write of each item is atomic."""
        return [bool(created) for created, _ in await self._write(items, keep, returned=False)]

    async def get(self, item_id: str) -> Item | None:
        return (await self.get_many([item_id])).get(item_id)

    async def get_many(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """Those of the items that exist, by id."""
        return await alone(self._scripts, self.reading(item_ids))

    def reading(self, item_ids: Iterable[str]) -> Read[dict[str, Item]]:
        """`get_many`, as part of a wave."""
        unique = list(dict.fromkeys(item_ids))
        return Read([("HGETALL", self._keys.item(item_id)) for item_id in unique], partial(_items, unique))

    def indexes(self) -> list[str]:
        """The keys of the lists that together hold the ids of the whole catalogue."""
        return [bucket.index for bucket in self._keys.items]

    def term_indexes(self, field: Field, term: str) -> list[str]:
        """The keys of the lists that together hold the ids of the items with this genre or tag."""
        name = term_name(field, term)
        return [bucket.term_stem + name for bucket in self._keys.items]

    def listing(self, key: str, after: str, count: int) -> Read[list[str]]:
        """The next `count` ids after `after` in a key of `indexes` or `term_indexes`; "" starts with the first."""
        return Read((_listing(key, after, count),), lambda results: [item_id.decode() for item_id in results[0]])

    async def known(self, item_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids that are in the catalogue."""
        found = await self._scripts.run([("EXISTS", self._keys.item(item_id)) for item_id in item_ids])
        return frozenset(item_id for item_id, exists in zip(item_ids, found, strict=True) if exists)

    async def absent(self, item_ids: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Those of the ids that are not in the catalogue: first those never put, then those deleted recently."""
        names = [(self._keys.item(one), self._keys.item_bucket(one).revision_stem + one) for one in item_ids]
        found = await self._scripts.run([("EXISTS", key) for pair in names for key in pair])
        rows = list(zip(item_ids, found[::2], found[1::2], strict=True))
        never_put = frozenset(item for item, exists, existed in rows if not exists and not existed)
        return never_put, frozenset(item for item, exists, existed in rows if not exists and existed)

    async def delete(self, item_id: str) -> bool:
        """Remove the item and its counts; False if there is no such item."""
        if not await self.known([item_id]):
            return False
        bucket = self._keys.item_bucket(item_id)
        names = (bucket.item_stem + item_id, bucket.stem, bucket.index, bucket.revision_stem + item_id)
        # Before the item is removed: then its counts are void even if the process dies in between.
        await deleted_items.note(self._scripts, self._keys, item_id)
        (deleted,) = await self._scripts.run([Call("item_delete", names, (item_id,))])
        await deleted_items.clear(self._scripts, self._keys, item_id)
        return bool(deleted)

    async def count(self) -> int:
        return sum(await self._scripts.run([("ZCARD", bucket.index) for bucket in self._keys.items]))

    async def page(self, limit: int, cursor: str | None = None) -> tuple[list[Item], str | None]:
        """The next `limit` items after `cursor`, and the cursor of the next page, or None at the end.

        The order is stable but not lexical. Items put or deleted between two pages may be missed.

        Raises:
            InvalidRequest: `cursor` was not returned by this method.
        """
        ids = await self._ids(limit + 1, *self._position(cursor))
        items = await self.get_many(ids[:limit])
        more = _cursor(self._keys.bucket(ids[limit - 1]), ids[limit - 1]) if len(ids) > limit else None
        return [items[item_id] for item_id in ids[:limit] if item_id in items], more

    async def pictures(self) -> AsyncIterator[list[str]]:
        """The hashes of all items' pictures in pages, with repetitions."""
        bucket, after = 0, ""
        while ids := await self._ids(PICTURES_PER_PAGE, bucket, after):
            named = await self._scripts.run([("HGET", self._keys.item(item_id), "pic") for item_id in ids])
            yield [picture.decode() for picture in named if picture]
            bucket, after = self._keys.bucket(ids[-1]), ids[-1]

    async def _write(self, items: Sequence[Item], keep: Keep, *, returned: bool) -> list[tuple[int, list[bytes]]]:
        """For each item: 1 if it is new, and its fields if they are to be `returned`."""
        results = await self._scripts.run([self._put(item, keep, returned=returned) for item in items])
        new = [item.item_id for item, (created, _) in zip(items, results, strict=True) if created]
        await self._new.add(new)
        await self._early.take(new, self.known)
        return results

    def _put(self, item: Item, keep: Keep, *, returned: bool) -> Call:
        bucket = self._keys.item_bucket(item.item_id)
        key, last = bucket.item_stem + item.item_id, bucket.revision_stem + item.item_id
        names = (key, bucket.stem, bucket.index, last)
        pictured = (item.picture or "", item.picture_error or "", item.picture_url or "")
        written = (encoding.item_words(item), encoding.item_attributes(item), *pictured)
        terms = term_names(item.genres, item.tags)
        return Call("item_put", names, (self._scripts.now(), item.item_id, *written, keep, int(returned), terms))

    def _position(self, cursor: str | None) -> tuple[int, str]:
        """The bucket and the last item id of a page."""
        if cursor is None:
            return 0, ""
        try:
            place = orjson.loads(base64.urlsafe_b64decode(cursor))
        except (binascii.Error, ValueError):
            place = None
        # Types are compared exactly, since 1.0 and true are in a range but are no index.
        valid = type(place) is list and [type(part) for part in place] == [int, str]
        if not valid or place[0] not in range(len(self._keys.items)):
            raise InvalidRequest("cursor: not a cursor of this service", field="cursor")
        return place[0], place[1]

    async def _ids(self, count: int, bucket: int, after: str) -> list[str]:
        """`count` ids after `after`, starting in `bucket`, a few buckets at a time."""
        ids: list[str] = []
        while bucket < len(self._keys.items) and len(ids) < count:
            buckets: Sequence[BucketKeys] = self._keys.items[bucket : bucket + BUCKETS_PER_CALL]
            commands = [_listing(keys.index, "" if number else after, count) for number, keys in enumerate(buckets)]
            for found in await self._scripts.run(commands):
                ids += [item_id.decode() for item_id in found]
            bucket, after = bucket + len(buckets), ""
        return ids[:count]


def _listing(key: str, after: str, count: int) -> tuple[Argument, ...]:
    return ("ZRANGEBYLEX", key, f"({after}" if after else "-", "+", "LIMIT", 0, count)


def _cursor(bucket: int, item_id: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([bucket, item_id])).decode()


def _items(item_ids: Sequence[str], hashes: list[Any]) -> dict[str, Item]:
    found = zip(item_ids, hashes, strict=True)
    return {item_id: encoding.item(item_id, fields) for item_id, fields in found if fields}
