"""Exact search is exact after any changes, and while they are made; its files are read back or refused."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.index.exact import ExactIndex, _as_float32
from service.index.files import BadFile

VERSION = "embedder@1"
STEPS = st.lists(
    st.tuples(st.booleans(), st.lists(st.integers(0, 40), min_size=1, max_size=30)), min_size=1, max_size=30
)


def vectors(count: int, dimensions: int = 4, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)


@given(STEPS, st.integers(1, 50))
def test_after_any_changes_the_best_of_what_is_left_are_found(steps: list[tuple[bool, list[int]]], k: int) -> None:
    index, known = ExactIndex(VERSION, 4, np.float32), dict[str, Any]()
    for seed, (adds, numbers) in enumerate(steps):
        names = [str(number) for number in numbers]
        if adds:
            new = vectors(len(names), seed=seed)
            index.upsert(names, new)
            known |= dict(zip(names, new, strict=True))
        else:
            index.remove(names)
            known = {name: row for name, row in known.items() if name not in names}
    (query,) = vectors(1, seed=99)
    (found,) = index.search(query[None], k)
    best = sorted(known, key=lambda name: -float(query @ known[name]))[:k]
    assert (found.ids, len(index)) == (best, len(known))
    rows, has = index.rows(best)
    assert has.all()
    np.testing.assert_array_equal(rows, np.array([known[name] for name in best]).reshape(-1, 4))


def test_rows_are_compared_in_chunks_and_all_of_them_are_seen() -> None:
    index, rows = ExactIndex(VERSION, 64, np.float32), vectors(70_000, 64)
    names = [str(number) for number in range(len(rows))]
    for start in range(0, len(rows), 10_000):
        index.upsert(names[start : start + 10_000], rows[start : start + 10_000])
    queries = vectors(2, 64, seed=1)
    for found, scores in zip(index.search(queries, 100, excluded=names[:5]), queries @ rows[5:].T, strict=True):
        assert found.ids == [names[5 + place] for place in np.argsort(-scores)[:100]]


def test_every_finite_float16_is_converted_exactly() -> None:
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = numbers[np.isfinite(numbers)][None]
    np.testing.assert_array_equal(_as_float32(finite), finite.astype(np.float32))


def test_dead_rows_do_not_fill_the_memory() -> None:
    index, names = ExactIndex(VERSION, 4), [str(number) for number in range(3000)]
    for seed in range(40):
        index.upsert(names, vectors(len(names), seed=seed))
    assert index.nbytes < 4 * 3000 * 4 * 2
    for _ in range(40):
        index.remove(names)
        index.upsert(names, vectors(len(names)))
    assert (index.nbytes < 4 * 3000 * 4 * 2, len(index)) == (True, 3000)
    index.upsert([f"more {number}" for number in range(20_000)], vectors(20_000))
    index.remove([f"more {number}" for number in range(20_000)])
    index.upsert(["one"], vectors(1))
    assert index.nbytes < 4 * 3000 * 4 * 2, "it shrinks"


def test_searches_during_changes_find_every_item_once_with_one_of_its_vectors() -> None:
    """Each item has one of two opposite vectors at any time: its score is 1 or -1, and all items are always there."""
    index, names = ExactIndex(VERSION, 2, np.float32), [str(number) for number in range(500)]
    up = np.tile(np.array([[1, 0]], dtype=np.float32), (500, 1))
    index.upsert(names, up)
    stop, failures = threading.Event(), list[str]()

    def search() -> None:
        while not stop.is_set():
            (found,) = index.search(up[:1], 2000)
            if len(set(found.ids)) != len(found.ids) or not set(np.abs(found.scores)) <= {1.0}:
                failures.append("an item twice, or a score that no vector has")
            if len(found.ids) < 490:
                failures.append(f"only {len(found.ids)} items")

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(400):
        index.upsert(names[:10], up[:10] * (-1) ** number)
        if number % 50 == 0:
            index.upsert(names, up)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("before", [True, False])
def test_a_search_that_a_change_interrupts_finds_what_was_there_all_the_time(before: bool) -> None:
    index, names = ExactIndex(VERSION, 2, np.float32), [str(number) for number in range(20)]
    up = np.tile(np.array([[1, 0]], dtype=np.float32), (20, 1))
    index.upsert(names, up)

    class Interrupted(np.ndarray[Any, Any]):
        """The marks of dead rows: all items get new vectors before or after they are copied."""

        def copy(self, *_: Any, **__: Any) -> Any:
            if before:
                index.upsert(names, -up)
            found = np.array(self)
            if not before:
                index.upsert(names, -up)
            return found

    index._rows.dead = index._rows.dead.view(Interrupted)
    (found,) = index.search(up[:1], 50, excluded=names[:2])
    assert sorted(found.ids) == sorted(names[2:])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_saved_index_is_the_same_when_it_is_loaded_and_can_be_changed(tmp_path: Path, dtype: Any) -> None:
    index, rows, path = ExactIndex(VERSION, 4, dtype), vectors(50), tmp_path / "new" / "index"
    names = [f"ü {number}" for number in range(50)]
    index.upsert(names, rows)
    index.remove(names[:10])
    index.save(path, {"after": [1, 2**53]})
    loaded, note = ExactIndex.load(path, VERSION)
    assert note == {"after": [1, 2**53]}
    query = vectors(1, seed=1)
    assert loaded.search(query, 50)[0].ids == index.search(query, 50)[0].ids
    loaded.upsert(["new"], vectors(1, seed=2))
    loaded.remove(names[10:12])
    assert len(loaded) == 39
    again, _ = ExactIndex.load(path, VERSION)
    assert len(again) == 40, "the file is not changed"
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_index_can_be_saved(tmp_path: Path) -> None:
    ExactIndex(VERSION, 4).save(tmp_path / "index", {})
    assert len(ExactIndex.load(tmp_path / "index", VERSION)[0]) == 0


def test_a_broken_or_foreign_file_is_refused(tmp_path: Path) -> None:
    index, path = ExactIndex(VERSION, 4), tmp_path / "index"
    index.upsert([str(number) for number in range(50)], vectors(50))
    index.save(path, {})
    good = path.read_bytes()
    with pytest.raises(BadFile, match="embedder@1"):
        ExactIndex.load(path, "embedder@2")
    for place in (0, 9, 17, 30, 300, len(good) - 300, len(good) - 1):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(BadFile):
            ExactIndex.load(path, VERSION)
    for broken in (b"", b"TSINDEX1", good[:40], good[:-1], good + b"x", bytes(len(good))):
        path.write_bytes(broken)
        with pytest.raises(BadFile):
            ExactIndex.load(path, VERSION)
    with pytest.raises(FileNotFoundError):
        ExactIndex.load(tmp_path / "none", VERSION)


def test_processes_that_write_a_file_at_the_same_time_do_not_write_into_each_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same process id, as in two containers that share a folder."""
    path, sync = tmp_path / "index", os.fsync
    one, two = ExactIndex(VERSION, 4), ExactIndex(VERSION, 4)
    one.upsert(["one"], vectors(1))
    two.upsert(["two", "more"], vectors(2))

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        two.save(path, {})
        assert len(ExactIndex.load(path, VERSION)[0]) == 2
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    one.save(path, {})
    assert len(ExactIndex.load(path, VERSION)[0]) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, path = ExactIndex(VERSION, 4), tmp_path / "index"
    index.save(path, {"at": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        index.save(path, {"at": 2})
    assert list(tmp_path.iterdir()) == [path]
    assert ExactIndex.load(path, VERSION)[1] == {"at": 1}
