"""All key names of the store; no other module builds one.

Every tenant has all of these keys. Those shown are of the tenant `default`; those of another begin with `ts@NAME:`
instead of `ts:`. A name has no colon, so whatever an id contains, the part before the first colon says whose a key is.

A user lives in one of `buckets` buckets. All keys of the user and of the bucket's queue carry the
bucket's hash tag, so that one script may touch them together on Redis Cluster:

    ts:{b7}:KIND_due          zset    work of that kind -> ms since the epoch from which it may be claimed
    ts:{b7}:KIND_lease:<user> hash    lease and failed attempts, while it has either
    ts:{b7}:fence       string  the last fencing token
    ts:{b7}:dead        stream  dead letters
    ts:{b7}:backlog     string  number of pending events of the bucket's users
    ts:{b7}:log         stream  the last accepted events, for replay and export
    ts:{b7}:shown       stream  the last answers that were shown, if `state.shown_log_size` is set
    ts:{b7}:u:<user>    string  preference summary, and the ids of the events folded by its last versions
    ts:{b7}:p:<user>    list    pending events, in the order of acceptance
    ts:{b7}:r:<user>    list    recents that are no longer pending, and a few older events, by event time
    ts:{b7}:i:<user>    list    items that have left the recents, oldest first; some are listed twice
    ts:{b7}:d:<user>    string  digests of the last event ids, 8 bytes each
    ts:{b7}:s:<user>    string  score cache; only of users with events
    ts:{b7}:g:<user>    hash    items shown on the pages of the last paged recommendations, by recommendation id
    ts:{b7}:h:<user>    list    items of the last answers that are to rotate, newest first
    ts:{b7}:x:<user>    string  tombstone: events received up to this time are refused
    ts:{b7}:y:<user>    list    ids of the user's dead letters

KIND is `summarize` for users, and `describe`, `encode`, `embed` and `fetch` for items, see `service.state.kinds`.

Items likewise under `{i7}`: `KIND_due`, `KIND_lease:<item>`, `fence`, `dead`, `index` (zset of ids in lexical
order), `t:<term>` (zset of the same form, the items with a genre or tag), `m:<item>` (hash) and `v:<item>` (string, the
revision before a deletion). For vectors of items: `ei` (hash, the bytes of a vector by index), `es` (string, the last
change number), and for each index `e:<index>` (hash, vectors by item), `ec:<index>` (zset, items by their last change)
and `et:<index>` (zset, those whose last change was a removal).

Across items: `ts:{c:<digest>}` (zset, co-occurring items), `ts:popular` (zset), `ts:seeded` (set), `ts:deleted_items`
(zset, deleted items whose counts are being removed), `ts:new` (zset, the newest items), `ts:early` (zset, liked
items that are not in the catalogue), `ts:updated` (hash, when each index last counted a like), `ts:embedding_index`
(string, the index of vectors in use), `ts:embedding_counts` (string, what its items are like),
`ts:embedding_mirrors` (hash, copies of indexes in a vector database by collection), `ts:lock:<task>` (string).
`ts:buckets` (string), which is no tenant's, is the number of buckets of all tenants.
"""

import base64
import zlib
from collections.abc import Iterable
from hashlib import blake2b
from typing import Literal

from service.names import DEFAULT_TENANT

Field = Literal["genres", "tags"]
BUCKETS = "ts:buckets"


class UserKeys:
    """The keys of one user."""

    def __init__(self, stem: str, user_id: str) -> None:
        self.summary = f"{stem}u:{user_id}"
        self.pending = f"{stem}p:{user_id}"
        self.lease = f"{stem}summarize_lease:{user_id}"
        self.recents = f"{stem}r:{user_id}"
        self.seen = f"{stem}i:{user_id}"
        self.dedupe = f"{stem}d:{user_id}"
        self.scores = f"{stem}s:{user_id}"
        self.pages = f"{stem}g:{user_id}"
        self.rotation = f"{stem}h:{user_id}"
        self.tombstone = f"{stem}x:{user_id}"
        self.dead_letters = f"{stem}y:{user_id}"


class BucketKeys:
    """The keys of one bucket.

    All of them begin with `stem`, which is never a key itself. An id or term name is appended to the `*_stem` ones.
    """

    def __init__(self, stem: str, name: str) -> None:
        self.name = name
        self.stem = f"{stem}{{{name}}}:"
        self.dead = f"{self.stem}dead"
        self.backlog = f"{self.stem}backlog"
        self.log = f"{self.stem}log"
        self.shown = f"{self.stem}shown"
        self.index = f"{self.stem}index"
        self.term_stem = f"{self.stem}t:"
        self.item_stem = f"{self.stem}m:"
        self.revision_stem = f"{self.stem}v:"
        self.embedding_widths = f"{self.stem}ei"

    def due(self, kind: str) -> str:
        """The due set of a kind of work."""
        return f"{self.stem}{kind}_due"

    def vectors(self, index: str) -> str:
        """The vectors of an index, by item."""
        return f"{self.stem}e:{index}"

    def vector_changes(self, index: str) -> str:
        return f"{self.stem}ec:{index}"

    def vector_removals(self, index: str) -> str:
        return f"{self.stem}et:{index}"


class Keys:
    """Key names of one tenant in a store of `buckets` buckets; the number must never change on a live store.

    All of them begin with `stem`, and no key of another tenant does.
    """

    def __init__(self, buckets: int, tenant: str = DEFAULT_TENANT) -> None:
        self.stem = stem = "ts:" if tenant == DEFAULT_TENANT else f"ts@{tenant}:"
        self.users = tuple(BucketKeys(stem, f"b{number}") for number in range(buckets))
        self.items = tuple(BucketKeys(stem, f"i{number}") for number in range(buckets))
        self.buckets = (*self.users, *self.items)
        self.popular = f"{stem}popular"
        self.seeded = f"{stem}seeded"
        self.deleted_items = f"{stem}deleted_items"
        self.early = f"{stem}early"
        self.new = f"{stem}new"
        self.updated = f"{stem}updated"
        self.embedding_index = f"{stem}embedding_index"
        self.embedding_counts = f"{stem}embedding_counts"
        self.embedding_mirrors = f"{stem}embedding_mirrors"
        self.neighbours_pattern = f"{stem}{{c:*}}"

    def user_bucket(self, user_id: str) -> BucketKeys:
        return self.users[self.bucket(user_id)]

    def user(self, user_id: str) -> UserKeys:
        return UserKeys(self.user_bucket(user_id).stem, user_id)

    def item_bucket(self, item_id: str) -> BucketKeys:
        return self.items[self.bucket(item_id)]

    def item(self, item_id: str) -> str:
        return self.item_bucket(item_id).item_stem + item_id

    def bucket(self, identity: str) -> int:
        return zlib.crc32(identity.encode()) % len(self.users)

    def neighbours(self, item_id: str) -> str:
        """The co-occurrence key of an item. It holds a digest, since an id may contain the braces of a hash tag."""
        return f"{self.stem}{{c:{blake2b(item_id.encode(), digest_size=12).hexdigest()}}}"

    def lock(self, task: str) -> str:
        """The lock of a periodic task."""
        return f"{self.stem}lock:{task}"

    def named(self, name: str) -> BucketKeys | None:
        """The bucket called `name` (`b7`, `i7`), or None."""
        return next((bucket for bucket in self.buckets if bucket.name == name), None)


def term_name(field: Field, term: str) -> str:
    """The name of a genre or tag in keys: eight characters of a digest, since terms may be long.

    Terms with the same digest share their lists, so a reader of a list has to check the items themselves.
    """
    return base64.urlsafe_b64encode(blake2b(term.encode(), digest_size=6, person=field.encode()).digest()).decode()


def term_names(genres: Iterable[str], tags: Iterable[str]) -> str:
    """The distinct names of an item's genres and tags, concatenated."""
    names = {*(term_name("genres", genre) for genre in genres), *(term_name("tags", tag) for tag in tags)}
    return "".join(sorted(names))
