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
from service.state.keys import BucketKeys, Keys
from service.state.new_items import NewItems
from service.state.reads import Read, alone
from service.state.records import Item
from service.state.redis.client import Argument
from service.state.redis.scripts import Call, Scripts
from service.state.terms import Field, term_name, term_names

BUCKETS_PER_LOOK = 8
PICTURES_PER_PAGE = 1000
Keep = Literal["nothing", "picture", "both"]
"""What a write leaves of the stored picture (`picture`), and of the last one given its error and its URL (`both`)."""


class Items:
    def __init__(self, scripts: Scripts, keys: Keys, early: Early, new: NewItems) -> None:
        self._scripts = scripts
        self._early = early
        self._new = new
        self._keys = keys

    async def put(self, item: Item, *, keep: Keep = "nothing") -> tuple[Item, bool]:
        """Write words, attributes and picture of `item`; the store gives revision and summary.

        A change makes a new revision. Other words or another picture void the summary, and an item
        with a picture is then described again. With a `picture_url` it is put into the queue of pictures to fetch
        first; keep the `picture` for that time.

        Returns:
            The item as stored, and whether it is new.
        """
        ((created, fields),) = await self._scripts.run([self._put(item, keep, returned=True)])
        if created:
            await self._new.add([item.item_id])
            await self._early.take([item.item_id], self.known)
        return encoding.item(item.item_id, encoding.pairs(fields)), bool(created)

    async def put_many(self, items: Sequence[Item], *, keep: Keep = "nothing") -> list[bool]:
        """Like `put`, in one round trip; returns whether each is new. Each is written at once, the whole is not."""
        results = await self._scripts.run([self._put(item, keep, returned=False) for item in items])
        new = [item.item_id for item, (created, _) in zip(items, results, strict=True) if created]
        await self._new.add(new)
        await self._early.take(new, self.known)
        return [bool(created) for created, _ in results]

    async def get(self, item_id: str) -> Item | None:
        return (await self.get_many([item_id])).get(item_id)

    async def get_many(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """Those of the items that exist, by id, in one round trip."""
        return await alone(self._scripts, self.reading(item_ids))

    def reading(self, item_ids: Iterable[str]) -> Read[dict[str, Item]]:
        """`get_many`, as part of a wave."""
        unique = list(dict.fromkeys(item_ids))
        return Read([("HGETALL", self._keys.item(item_id)) for item_id in unique], partial(_items, unique))

    def indexes(self) -> list[str]:
        """The keys that list the ids of the whole catalogue, a part each."""
        return [bucket.index for bucket in self._keys.items]

    def term_indexes(self, field: Field, term: str) -> list[str]:
        """The keys that list the ids of the items with this genre or tag, a part each."""
        name = term_name(field, term)
        return [bucket.term_stem + name for bucket in self._keys.items]

    def listing(self, key: str, after: str, count: int) -> Read[list[str]]:
        """The next `count` ids after `after` in a key of `indexes` or `term_indexes`, "" for the first ones."""
        return Read((_listing(key, after, count),), lambda results: [item_id.decode() for item_id in results[0]])

    async def known(self, item_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids that are in the catalogue."""
        found = await self._scripts.send([("EXISTS", self._keys.item(item_id)) for item_id in item_ids])
        return frozenset(item_id for item_id, exists in zip(item_ids, found, strict=True) if exists)

    async def absent(self, item_ids: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Those of the ids that are not in the catalogue: that may yet come, and that were deleted a while ago."""
        names = [(self._keys.item(one), self._keys.item_bucket(one).revision_stem + one) for one in item_ids]
        found = await self._scripts.send([("EXISTS", key) for pair in names for key in pair])
        places = list(zip(item_ids, found[::2], found[1::2], strict=True))
        to_come = frozenset(item for item, there, was in places if not there and not was)
        return to_come, frozenset(item for item, there, was in places if not there and was)

    async def delete(self, item_id: str) -> bool:
        """Remove the item and what was counted about it; False if there was none."""
        if not await self.known([item_id]):
            return False
        bucket = self._keys.item_bucket(item_id)
        names = (bucket.item_stem + item_id, bucket.stem, bucket.index, bucket.revision_stem + item_id)
        # Before the item is removed: if the process dies in between, its counts are still void.
        await deleted_items.note(self._scripts, item_id)
        (deleted,) = await self._scripts.run([Call("item_delete", names, (item_id,))])
        await deleted_items.clear(self._scripts, item_id)
        return bool(deleted)

    async def count(self) -> int:
        return sum(await self._scripts.send([("ZCARD", bucket.index) for bucket in self._keys.items]))

    async def page(self, limit: int, cursor: str | None = None) -> tuple[list[Item], str | None]:
        """The next `limit` items after `cursor`, and the cursor for the next page, or None at the end.

        The order is stable but not lexical. Items put or deleted while a caller pages may be missed.

        Raises:
            InvalidRequest: `cursor` did not come from here.
        """
        ids = await self._ids(limit + 1, *self._position(cursor))
        items = await self.get_many(ids[:limit])
        more = _cursor(self._keys.bucket(ids[limit - 1]), ids[limit - 1]) if len(ids) > limit else None
        return [items[item_id] for item_id in ids[:limit] if item_id in items], more

    async def pictures(self) -> AsyncIterator[list[str]]:
        """The hashes of all pictures that items name, page by page, with repetitions."""
        bucket, after = 0, ""
        while ids := await self._ids(PICTURES_PER_PAGE, bucket, after):
            named = await self._scripts.send([("HGET", self._keys.item(item_id), "pic") for item_id in ids])
            yield [picture.decode() for picture in named if picture]
            bucket, after = self._keys.bucket(ids[-1]), ids[-1]

    def _put(self, item: Item, keep: Keep, *, returned: bool) -> Call:
        bucket = self._keys.item_bucket(item.item_id)
        key, last = bucket.item_stem + item.item_id, bucket.revision_stem + item.item_id
        names = (key, bucket.stem, bucket.index, last)
        pictured = (item.picture or "", item.picture_error or "", item.picture_url or "")
        written = (encoding.item_words(item), encoding.item_attributes(item), *pictured)
        kept = "" if keep == "nothing" else keep
        terms = term_names(item.genres, item.tags)
        return Call("item_put", names, (self._scripts.now(), item.item_id, *written, kept, int(returned), terms))

    def _position(self, cursor: str | None) -> tuple[int, str]:
        if cursor is None:
            return 0, ""
        try:
            place = orjson.loads(base64.urlsafe_b64decode(cursor))
        except (binascii.Error, ValueError) as error:
            raise _foreign() from error
        # By exact type: 1.0 and true are in a range, and no index.
        if type(place) is not list or [type(part) for part in place] != [int, str]:
            raise _foreign()
        number, item_id = place
        if number not in range(len(self._keys.items)):
            raise _foreign()
        return number, item_id

    async def _ids(self, count: int, bucket: int, after: str) -> list[str]:
        """`count` ids after `after`, starting in `bucket`, a few buckets at a time."""
        ids: list[str] = []
        while bucket < len(self._keys.items) and len(ids) < count:
            look: Sequence[BucketKeys] = self._keys.items[bucket : bucket + BUCKETS_PER_LOOK]
            commands = [_listing(keys.index, "" if place else after, count) for place, keys in enumerate(look)]
            for found in await self._scripts.send(commands):
                ids += [item_id.decode() for item_id in found]
            bucket, after = bucket + len(look), ""
        return ids[:count]


def _listing(key: str, after: str, count: int) -> tuple[Argument, ...]:
    """The command for the next `count` ids after `after`, "" for the first ones."""
    return ("ZRANGEBYLEX", key, f"({after}" if after else "-", "+", "LIMIT", 0, count)


def _foreign() -> InvalidRequest:
    return InvalidRequest("cursor: not a cursor of this service", field="cursor")


def _cursor(bucket: int, item_id: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([bucket, item_id])).decode()


def _items(item_ids: Sequence[str], hashes: list[Any]) -> dict[str, Item]:
    return {
        item_id: encoding.item(item_id, {name.decode(): value for name, value in fields.items()})
        for item_id, fields in zip(item_ids, hashes, strict=True)
        if fields
    }
