"""Every key belongs to one tenant and to one thing, whatever names and ids contain."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from service.names import DEFAULT_TENANT, read_name
from service.state.keys import BUCKETS, Keys, term_name
from service.state.kinds import KINDS

TENANTS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True) | st.sampled_from(
    [DEFAULT_TENANT, "a", "aa", "a.a", "shop", "shop-eu", "popular", "b0", "ts"]
)
IDS = st.text(max_size=20) | st.lists(
    st.sampled_from(["u", ":", "{", "}", "@", "ts", "ts:", "ts@shop:", "{b0}", "popular", "_lease:", "dead"]),
    max_size=5,
).map("".join)


def shared(keys: Keys) -> Iterator[str]:
    """The keys that belong to no user or item."""
    yield from (keys.popular, keys.seeded, keys.deleted_items, keys.early, keys.new, keys.updated)
    yield from (keys.embedding_index, keys.embedding_counts, keys.embedding_mirrors)
    yield keys.lock("sweep")
    for bucket in keys.buckets:
        yield from (bucket.dead, bucket.backlog, bucket.log, bucket.index, f"{bucket.stem}fence")
        yield from (bucket.due(kind.name) for kind in KINDS)
        yield from (bucket.embedding_widths, bucket.vectors("a@1"), f"{bucket.stem}es")
        yield from (bucket.vector_changes("a@1"), bucket.vector_removals("a@1"))


def of_user(keys: Keys, user: str) -> Iterator[str]:
    yield from vars(keys.user(user)).values()


def of_item(keys: Keys, item: str) -> Iterator[str]:
    bucket = keys.item_bucket(item)
    yield from (keys.item(item), keys.neighbours(item), bucket.revision_stem + item)
    yield from (f"{bucket.stem}{kind.name}_lease:{item}" for kind in KINDS if kind.owner == "item")


def own(keys: Keys, ids: list[str]) -> Iterator[str]:
    yield from shared(keys)
    for one in ids:
        yield from of_user(keys, one)
        yield from of_item(keys, one)
        yield from (bucket.term_stem + term_name("tags", one) for bucket in keys.items)


@given(st.lists(TENANTS, min_size=2, max_size=4, unique=True), st.lists(IDS, min_size=1, max_size=4, unique=True))
@example(["default", "a", "aa"], ["x", "@a:x", "a:x"])
@example(["shop", "shop-eu"], ["-eu:{b0}:u:x", "x"])
def test_no_two_tenants_and_ids_share_a_key(tenants: list[str], ids: list[str]) -> None:
    found = Counter(key for tenant in tenants for key in own(Keys(2, tenant), ids))
    assert [key for key, times in found.items() if times > 1] == []
    assert BUCKETS not in found


@given(TENANTS, TENANTS, st.lists(IDS, min_size=1, max_size=4, unique=True))
@example("shop", "shop-eu", ["x"])
@example("default", "shop", ["shop:x"])
def test_the_beginning_of_a_key_says_whose_it_is(tenant: str, other: str, ids: list[str]) -> None:
    stem = Keys(2, tenant).stem
    assert all(key.startswith(stem) for key in own(Keys(2, tenant), ids))
    assert stem.index(":") == len(stem) - 1
    if other != tenant:
        assert not any(key.startswith(stem) for key in own(Keys(2, other), ids))


def test_the_default_tenant_has_the_keys_of_earlier_versions() -> None:
    keys = Keys(4)
    assert (keys.stem, keys.popular, keys.lock("sweep")) == ("ts:", "ts:popular", "ts:lock:sweep")
    assert keys.user("u").summary.startswith("ts:{b")
    assert Keys(4, "shop").popular == "ts@shop:popular"


@given(TENANTS, st.text(max_size=8))
def test_a_tenant_name_has_no_character_with_a_meaning_in_keys(name: str, more: str) -> None:
    assert read_name(name) == name
    try:
        accepted = read_name(name + more)
    except ValueError:
        return
    assert not set(accepted) & set(":{}@*?[]\\ \n")


def test_the_page_about_redis_has_every_key() -> None:
    keys, page = Keys(1), (Path(__file__).parents[3] / "docs" / "redis.md").read_text("utf-8")
    for key in {*shared(keys), *of_user(keys, "USER"), *of_item(keys, "ITEM")}:
        shown = re.sub(r"\{c:\w+\}", "{c:DIGEST}", key).replace("a@1", "INDEX").replace("lock:sweep", "lock:TASK")
        # In a row with several keys of a bucket, only the first has the bucket.
        name = shown.partition("0}")[2] or shown
        assert re.search(rf"`(ts:\{{[bi]7\}})?{re.escape(name)}`", page), key
