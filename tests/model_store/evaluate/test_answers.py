import sqlite3
from pathlib import Path

import pytest

from model_store.demo import MODELS
from model_store.evaluate.answers import FILE, AnswerCache, AnswerCacheError, answer_key, version_key
from model_store.registry.registry import Registry


def test_answers_outlive_the_run(tmp_path: Path) -> None:
    with AnswerCache(tmp_path) as cache:
        cache.put({b"a": "one", b"b": ""})
    with AnswerCache(tmp_path) as cache:
        assert cache.get([b"a", b"b", b"c"]) == {b"a": "one", b"b": ""}


def test_an_answer_is_written_at_once(tmp_path: Path) -> None:
    with AnswerCache(tmp_path) as running, AnswerCache(tmp_path) as other:
        running.put({b"a": "one"})
        assert other.get([b"a"]) == {b"a": "one"}


def test_more_keys_than_a_statement_takes(tmp_path: Path) -> None:
    keys = [str(number).encode() for number in range(2000)]
    with AnswerCache(tmp_path) as cache:
        cache.put(dict.fromkeys(keys, "x"))
        assert len(cache.get(keys)) == 2000


def test_a_key_changes_with_every_part_and_with_where_it_ends() -> None:
    keys = [
        answer_key("ab", "c"),
        answer_key("a", "bc"),
        answer_key("abc"),
        answer_key("ab", "c", b""),
        answer_key(b""),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("change", [{"version": 2}, {"weights_sha256": "0"}, {"prompts_sha256": "0"}])
def test_another_version_has_other_answers(change: dict[str, object]) -> None:
    manifest = Registry(MODELS).get("demo-ranker")
    assert version_key(manifest) != version_key(manifest.model_copy(update=change))
    same = {"evaluation": {"auc": 1}, "created": None}
    assert version_key(manifest) == version_key(manifest.model_copy(update=same))


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("something else, and long enough to be no database")
    with pytest.raises(AnswerCacheError, match=FILE):
        AnswerCache(tmp_path)


def test_a_cache_that_fails_while_writing_is_named(tmp_path: Path) -> None:
    with AnswerCache(tmp_path) as cache:
        with sqlite3.connect(tmp_path / FILE) as other:
            other.execute("DROP TABLE answers")
        with pytest.raises(AnswerCacheError, match=FILE):
            cache.put({b"a": "one"})


def test_a_cache_that_fails_while_reading_is_named_with_the_remedy(tmp_path: Path) -> None:
    with AnswerCache(tmp_path) as cache:
        with sqlite3.connect(tmp_path / FILE) as other:
            other.execute("DROP TABLE answers")
        with pytest.raises(AnswerCacheError, match=rf"{FILE} can't be read.*remove it"):
            cache.get([b"a"])
