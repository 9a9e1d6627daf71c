"""Every key name of the store, and nowhere else.

A user lives in one of `buckets` buckets. All keys of the user and of the bucket's queue carry the
bucket's hash tag, so that one script may touch them together on Redis Cluster:

    ts:{b7}:KIND_due          zset    work of that kind -> ms since the epoch when it may be claimed
    ts:{b7}:KIND_lease:<user> hash    the lease and the failed attempts; only while there is either
    ts:{b7}:fence       string  the last fencing token given out
    ts:{b7}:dead        stream  dead letters
    ts:{b7}:backlog     string  how many pending events the bucket's users have
    ts:{b7}:log         stream  the last accepted events, for replay and export
    ts:{b7}:u:<user>    string  preference summary, and which events its last versions folded
    ts:{b7}:p:<user>    list    pending events, in the order of their acceptance
    ts:{b7}:r:<user>    list    recents that are no more pending and a few before them, by event time
    ts:{b7}:i:<user>    list    items that have left them, oldest first; some stand there twice
    ts:{b7}:d:<user>    string  digests of the last event ids, 8 bytes each
    ts:{b7}:s:<user>    string  score cache; only of users with events
    ts:{b7}:x:<user>    string  tombstone: events received up to this time are refused
    ts:{b7}:y:<user>    list    ids of the user's dead letters

KIND is `summarize` for users, and `describe` and `fetch` for items, see `service.state.kinds`.

Items likewise under `{i7}`: `KIND_due`, `KIND_lease:<item>`, `fence`, `dead`, `index` (zset of ids in lexical
order), `t:<term>` (zset like it, the items with a genre or tag), `m:<item>` (hash) and `v:<item>` (string, the revision
before a deletion).

Across items: `ts:{c:<digest>}` (zset, co-occurring items), `ts:popular` (zset), `ts:seeded` (set), `ts:deleted_items`
(zset, deleted items whose counts are being removed), `ts:new` (zset, the newest items), `ts:early` (zset, liked
items that are not in the catalogue), `ts:lock:<task>` (string). `ts:buckets` (string) is the number of buckets.
"""

import hashlib
import zlib
from dataclasses import dataclass

BUCKETS = "ts:buckets"
POPULAR = "ts:popular"
SEEDED = "ts:seeded"
DELETED_ITEMS = "ts:deleted_items"
EARLY = "ts:early"
NEW = "ts:new"
LOCK_STEM = "ts:lock:"
NEIGHBOURS_PATTERN = "ts:{c:*}"


@dataclass(frozen=True, slots=True)
class UserKeys:
    """The keys of one user and of its bucket's queue."""

    stem: str
    due: str
    dead: str
    backlog: str
    log: str
    summary: str
    pending: str
    lease: str
    recents: str
    seen: str
    dedupe: str
    scores: str
    tombstone: str
    dead_letters: str


@dataclass(frozen=True, slots=True)
class BucketKeys:
    """The keys of one bucket; an item id is appended to the `*_stem` ones.

    `stem` is what all of them begin with, and never a key itself.
    """

    name: str
    stem: str
    dead: str
    backlog: str
    log: str
    index: str
    term_stem: str
    item_stem: str
    revision_stem: str

    def due(self, kind: str) -> str:
        """The due set of a kind of work."""
        return f"{self.stem}{kind}_due"


class Keys:
    """Key names for a store of `buckets` buckets; the number must never change on a live store."""

    def __init__(self, buckets: int) -> None:
        self.users = tuple(_bucket(f"b{number}") for number in range(buckets))
        self.items = tuple(_bucket(f"i{number}") for number in range(buckets))
        self._stems = tuple(_stem(bucket.name) for bucket in self.users)

    def user_stem(self, user_id: str) -> str:
        """What all keys of the user, and of its bucket's queue, begin with."""
        return self._stems[self.bucket(user_id)]

    def user(self, user_id: str) -> UserKeys:
        stem = self.user_stem(user_id)
        return UserKeys(
            stem=stem,
            due=f"{stem}summarize_due",
            dead=f"{stem}dead",
            backlog=f"{stem}backlog",
            log=f"{stem}log",
            summary=f"{stem}u:{user_id}",
            pending=f"{stem}p:{user_id}",
            lease=f"{stem}summarize_lease:{user_id}",
            recents=f"{stem}r:{user_id}",
            seen=f"{stem}i:{user_id}",
            dedupe=f"{stem}d:{user_id}",
            scores=f"{stem}s:{user_id}",
            tombstone=f"{stem}x:{user_id}",
            dead_letters=f"{stem}y:{user_id}",
        )

    def item_bucket(self, item_id: str) -> BucketKeys:
        return self.items[self.bucket(item_id)]

    def item(self, item_id: str) -> str:
        return self.item_bucket(item_id).item_stem + item_id

    def bucket(self, identity: str) -> int:
        return zlib.crc32(identity.encode()) % len(self.users)

    def named(self, name: str) -> BucketKeys | None:
        """The bucket called `name` (`b7`, `i7`), or None."""
        return next((bucket for bucket in (*self.users, *self.items) if bucket.name == name), None)


def neighbours(item_id: str) -> str:
    """The co-occurrence key of an item; a digest, so that its tag holds no character of the id."""
    return f"ts:{{c:{hashlib.blake2b(item_id.encode(), digest_size=12).hexdigest()}}}"


def _stem(name: str) -> str:
    return f"ts:{{{name}}}:"


def _bucket(name: str) -> BucketKeys:
    stem = _stem(name)
    return BucketKeys(
        name=name,
        stem=stem,
        dead=f"{stem}dead",
        backlog=f"{stem}backlog",
        log=f"{stem}log",
        index=f"{stem}index",
        term_stem=f"{stem}t:",
        item_stem=f"{stem}m:",
        revision_stem=f"{stem}v:",
    )
