"""The guarantees of a cache that is bounded by bytes."""

from model_store.byte_cache import OVERHEAD, ByteCache


def test_what_was_used_last_is_kept_up_to_a_number_of_bytes() -> None:
    cache: ByteCache[str, bytes] = ByteCache(2 * (10 + OVERHEAD))
    for key in "ab":
        cache.add(key, bytes(10))
    cache.get("a")
    cache.add("c", bytes(10))
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]


def test_many_small_values_take_no_more_than_a_few_large_ones() -> None:
    cache: ByteCache[int, bytes] = ByteCache(100 * OVERHEAD)
    for key in range(1000):
        cache.add(key, b"")
    assert sum(cache.get(key) is not None for key in range(1000)) == 100


def test_a_value_larger_than_the_cache_drops_nothing() -> None:
    cache: ByteCache[str, bytes] = ByteCache(1000)
    cache.add("small", bytes(10))
    cache.add("huge", bytes(1000))
    assert cache.get("small") == bytes(10)
    assert cache.get("huge") is None
