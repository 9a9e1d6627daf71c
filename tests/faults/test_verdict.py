"""The judge itself: each broken promise is seen."""

from collections.abc import Callable

import pytest

from tests.faults.client import Story
from tests.faults.resp import Failure, Value, parse
from tests.faults.verdict import complaints, left_over, of_user, repeated, sizes_left

SENT = ["u1-0", "u1-1", "u1-2"]


@pytest.mark.parametrize(
    ("words", "buried", "complaint"),
    [
        (["u1-0", "u1-2"], [], "u1-1 was acknowledged and is lost"),
        (["u1-0", "u1-1", "u1-2", "u1-1"], [], "u1-1 is there 2 times"),
        (SENT, ["u1-2"], "u1-2 is there 2 times"),
        (["u1-0", "u1-2", "u1-1"], [], "out of order"),
        ([*SENT, "u1-8"], [], "u1-8 was deleted and came back"),
        ([*SENT, "u2-0"], [], "u2-0 was never sent"),
        (["u1-5", *SENT, "u1-5"], [], "u1-5 is there 2 times"),
    ],
)
def test_what_is_lost_doubled_disordered_or_back_is_told(words: list[str], buried: list[str], complaint: str) -> None:
    story = Story(acknowledged=SENT, unsure={"u1-5"}, deleted={"u1-8"})
    assert any(complaint in one for one in complaints(story, words, buried))


@pytest.mark.parametrize(
    ("words", "buried"), [(SENT, []), (["u1-0", "u1-2"], ["u1-1"]), (["u1-5", *SENT], []), ([], SENT)]
)
def test_what_is_in_order_is_not_complained_of(words: list[str], buried: list[str]) -> None:
    story = Story(acknowledged=SENT, unsure={"u1-5"}, deleted={"u1-8"})
    assert complaints(story, words, buried) == []
    assert complaints(story, [*buried, *words], ordered=False) == []


@pytest.mark.parametrize("kind", ["p:u1", "summarize_lease:u1", "y:u1", "summarize_due"])
def test_work_that_nobody_will_do_is_told(kind: str) -> None:
    usual = ["ts:{b0}:u:u1", "ts:{b0}:x:u1", "ts:{b0}:fence", "ts:{i0}:describe_due", "ts:popular"]
    assert left_over(usual) == []
    assert len(left_over([*usual, f"ts:{{b0}}:{kind}"])) == 1


def test_the_keys_of_a_user_are_told_but_for_its_tombstone() -> None:
    keys = ["ts:{b0}:d:u1", "ts:{b0}:x:u1", "ts:{b0}:u:u11", "ts:{b0}:summarize_due"]
    assert of_user(keys, "u1") == ["ts:{b0}:d:u1"]


def test_counters_that_are_not_back_and_prompts_that_repeat_are_told() -> None:
    assert len(sizes_left({"a": 0, "b": 2})) == 1
    assert len(repeated([["u1-0", "u1-1"], ["u1-0", "u1-1", "u1-0"]])) == 1


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (b"+OK\r\n", b"OK"),
        (b"-NOSCRIPT no\r\n", Failure(b"NOSCRIPT no")),
        (b":-3\r\n", -3),
        (b"$4\r\na\r\nb\r\n", b"a\r\nb"),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"*3\r\n:1\r\n*1\r\n$0\r\n\r\n$2\r\nab\r\n", [1, [b""], b"ab"]),
    ],
)
def test_a_message_is_read_when_it_is_whole(message: bytes, value: Value) -> None:
    assert parse(message + b"+next\r\n") == (value, len(message))
    for length in range(len(message)):
        assert parse(message[:length]) is None


def test_what_is_no_message_is_refused() -> None:
    reading: Callable[[bytes], object] = parse
    with pytest.raises(ValueError, match="no RESP message"):
        reading(b"?\r\n")
