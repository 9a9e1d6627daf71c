"""`tastestream dead-letters` lists, retries or drops the selected dead letters and changes nothing else."""

import asyncio
import json

import pytest

from service.settings import Settings
from service.state import dead_letters
from service.state.records import Item
from service.state.store import Store
from tests.service.cli.conftest import Run, accept, event, on_store
from tests.stores import dead_letters as letters


async def a_millisecond() -> None:
    """Letters of the same millisecond have no order."""
    await asyncio.sleep(0.002)


async def dead_letter(store: Store, user: str, reason: str, events: int = 3, **fields: object) -> None:
    """Make the user's next `events` events a dead letter."""
    await a_millisecond()
    await accept(store, *(event(user, number, **fields) for number in range(events)))
    (claim,) = [claim for claim in await store.summaries.claim(100) if claim.key == user]
    assert await store.summaries.dead_letter(claim, reason, events) == "dead_lettered"


async def fill(store: Store) -> None:
    for user in ("ann", "bob", "cy"):
        await dead_letter(store, user, "bad_answer" if user != "cy" else "too_long")
    await store.items.put(Item("mug", "A mug", picture="0" * 64))
    (claim,) = await store.descriptions.claim(1)
    await a_millisecond()
    assert await store.descriptions.dead_letter(claim, "unreadable") == "dead_lettered"


@pytest.fixture
def filled(settings: Settings) -> Settings:
    on_store(settings, fill)
    return settings


def test_the_table_shows_the_user_or_item_the_reason_and_the_number_of_events(
    filled: Settings, tastestream: Run
) -> None:
    shown = tastestream("dead-letters", "list")
    assert shown.code == 0
    found = [line.split() for line in shown.out.splitlines()[1:-1]]
    assert [line[1:4] for line in found] == [
        ["summarize", "ann", "bad_answer"],
        ["summarize", "bob", "bad_answer"],
        ["summarize", "cy", "too_long"],
        ["describe", "mug", "unreadable"],
    ]
    assert [line[-1] for line in found[:3]] == ["3", "3", "3"]
    assert "4 dead letters" in shown.out


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ((), ["ann", "bob", "cy", "mug"]),
        (("--user", "bob"), ["bob"]),
        (("--item", "mug"), ["mug"]),
        (("--user", "ann", "--item", "mug"), ["ann", "mug"]),
        (("--reason", "bad_answer"), ["ann", "bob"]),
        (("--user", "cy", "--reason", "bad_answer"), []),
        (("--limit", "2"), ["ann", "bob"]),
    ],
)
def test_the_options_select_letters(
    filled: Settings, tastestream: Run, options: tuple[str, ...], keys: list[str]
) -> None:
    lines = tastestream("dead-letters", "list", "--json", *options).out.splitlines()
    found = [json.loads(line) for line in lines]
    assert [one.get("user_id", one.get("item_id")) for one in found] == keys


def test_json_holds_the_whole_events(settings: Settings, tastestream: Run) -> None:
    context = {"page": "hömè", "deep": [1, {"a": None}]}
    on_store(
        settings, lambda store: dead_letter(store, "ann", "bad", 1, value=2.5, context=context, recommendation_id="r")
    )
    (line,) = tastestream("dead-letters", "list", "--json").out.splitlines()
    assert json.loads(line)["events"] == [
        {
            "event_id": "ann-0",
            "user_id": "ann",
            "item_id": "item-0",
            "type": "click",
            "timestamp": "2025-06-15T15:06:40.000Z",
            "value": 2.5,
            "recommendation_id": "r",
            "context": context,
        }
    ]


def test_nothing_that_controls_a_terminal_is_printed(settings: Settings, tastestream: Run) -> None:
    nasty = "\u202eann\u200b\U000e0041[bold]x[/]"
    on_store(settings, lambda store: dead_letter(store, nasty, "bad\x1b[2J\x9b31m", context={"a": "\x9b2J\x7f\x1b"}))
    for options in ((), ("--json",)):
        shown = tastestream("dead-letters", "list", *options).out
        assert all(letter == "\n" or letter.isprintable() for letter in shown), ascii(shown)
        assert "[bold]x[/]" in shown


def test_letters_are_read_page_by_page_oldest_first(
    settings: Settings, tastestream: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "PAGE", 2)

    async def many(store: Store) -> None:
        for number in range(23):
            await dead_letter(store, f"u{number % 7}-{number}", "bad")

    on_store(settings, many)
    lines = tastestream("dead-letters", "list", "--json").out.splitlines()
    assert [json.loads(line)["user_id"] for line in lines] == [f"u{number % 7}-{number}" for number in range(23)]
    assert "10 of 23 dead letters" in tastestream("dead-letters", "list", "--limit", "10").out


def test_the_outcome_of_each_named_letter_is_printed(filled: Settings, tastestream: Run) -> None:
    ann, bob, *_ = on_store(filled, letters)
    retried = tastestream("dead-letters", "retry", ann.id, "b0-1-1", "nonsense")
    assert retried.code == 1
    assert retried.out.splitlines() == [f"{ann.id}: retried", "b0-1-1: not found", "nonsense: not found"]
    dropped = tastestream("dead-letters", "drop", bob.id, ann.id, "--yes")
    assert dropped.code == 1
    assert dropped.out.splitlines() == [f"{bob.id}: dropped", f"{ann.id}: not found"]
    assert [letter.key for letter in on_store(filled, letters)] == ["cy", "mug"]
    assert on_store(filled, lambda store: store.users.read("ann")).pending == 3


def test_a_letter_whose_user_has_a_full_backlog_stays(
    filled: Settings, tastestream: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASTESTREAM_STATE__MAX_PENDING", "2")
    ended = tastestream("dead-letters", "retry", "--all", "--user", "ann")
    assert ended.code == 1
    assert "not retried, the user's backlog is full" in ended.out
    assert "retried 0 of 1 dead letters" in ended.out
    assert len(on_store(filled, letters)) == 4


def test_all_letters_of_a_reason_are_retried(filled: Settings, tastestream: Run) -> None:
    ended = tastestream("dead-letters", "retry", "--all", "--reason", "bad_answer")
    assert ended.code == 0
    assert "retried 2 of 2 dead letters" in ended.out
    assert [letter.key for letter in on_store(filled, letters)] == ["cy", "mug"]


def test_a_drop_asks_for_confirmation(filled: Settings, tastestream: Run) -> None:
    kept = tastestream("dead-letters", "drop", "--all", answer="n\n")
    assert kept.code == 1
    assert "Drop 4 dead letters with 9 events permanently?" in kept.out + kept.err
    assert len(on_store(filled, letters)) == 4
    assert tastestream("dead-letters", "drop", "--all").code == 1, "no answer"
    assert len(on_store(filled, letters)) == 4
    assert "dropped 4 dead letters" in tastestream("dead-letters", "drop", "--all", answer="y\n").out
    assert on_store(filled, letters) == []


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_letters_that_were_not_selected_are_not_changed(filled: Settings, tastestream: Run, command: str) -> None:
    unchosen = tastestream("dead-letters", command)
    assert (unchosen.code, "or --all" in unchosen.err) == (1, True)
    both = tastestream("dead-letters", command, "b0-1-1", "--all")
    assert (both.code, "or --all" in both.err) == (1, True)
    muddled = tastestream("dead-letters", command, "b0-1-1", "--reason", "bad")
    assert (muddled.code, "go with --all" in muddled.err) == (1, True)
    assert len(on_store(filled, letters)) == 4


async def test_a_letter_that_fails_again_is_not_retried_twice_in_one_run(settings: Settings) -> None:
    store = Store(settings)
    await fill(store)
    seen = []
    async for letter in store.dead_letters.read():
        seen.append(letter.key)
        assert await store.dead_letters.retry(letter.id) == "retried"
        if letter.kind == "summarize":
            (claim,) = await store.summaries.claim(100)
            assert await store.summaries.dead_letter(claim, letter.reason, 3) == "dead_lettered"
    assert sorted(seen) == ["ann", "bob", "cy", "mug"]
    await store.close()


def test_an_unreachable_redis_is_reported_in_one_sentence(tastestream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTESTREAM_REDIS_URL", "unix:///nowhere/redis.sock")
    ended = tastestream("dead-letters", "list")
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    monkeypatch.delenv("TASTESTREAM_REDIS_URL")
    assert "set TASTESTREAM_REDIS_URL" in tastestream("dead-letters", "list").err
