"""Folding: every event once and in order, with few calls."""

import time

from service.state.records import Event, Item
from service.state.store import Store
from tests.redis_servers import on_both
from tests.stores import dead_letters
from tests.workers.conftest import NOW_MS, Start, event, put, text, until
from tests.workers.doubles import RecordingSummarizer
from tests.workers.folding import folded_all, names, summary_is, true


@on_both
async def test_every_event_is_folded_once_in_order_with_the_model_that_wrote_it(store: Store, start: Start) -> None:
    users = [f"u{number}" for number in range(20)]
    engine = RecordingSummarizer()
    worker = await start(engine)
    for burst in range(4):
        await put(store, [event(user, burst * 3 + n) for n in range(3) for user in users])
    for user in users:
        await until(lambda user=user: summary_is(store, user, names(user, 12)))
    read = await store.users.read("u0")
    assert read.pending == 0
    assert read.summary is not None
    assert (read.summary.model, read.summary.prompt, read.summary.event_ids[-1]) == ("double@1", "prompt", "u0-11")
    assert sorted(title for block in engine.blocks for title in block) == sorted(
        f"{user}-{number}" for user in users for number in range(12)
    )
    await until(lambda: true(worker.metrics.folded_events._value.get() == 240))


async def test_freshness_is_the_time_from_acceptance_to_commit_of_each_event(store: Store, start: Start) -> None:
    worker_started = time.time()
    await put(store, [event("u", number) for number in range(7)])
    worker = await start(RecordingSummarizer())
    await until(lambda: summary_is(store, "u", names("u", 7)))
    await worker.drain()
    elapsed = time.time() - worker_started
    value = worker.metrics.registry.get_sample_value
    assert value("tastestream_event_to_summary_seconds_count") == 7
    assert 0 < (value("tastestream_event_to_summary_seconds_sum") or 0) < 7 * elapsed


async def test_what_is_folded_again_says_nothing_about_freshness(store: Store, start: Start) -> None:
    await put(store, [event("rebuilt", number) for number in range(3)])
    await put(store, [event("retried", number) for number in range(3)])
    claims = {claim.key: claim for claim in await store.summaries.claim(2)}
    assert await store.summaries.dead_letter(claims["retried"], "bad", 3) == "dead_lettered"
    await store.summaries.release(claims["rebuilt"])
    worker = await start(RecordingSummarizer())
    value = worker.metrics.registry.get_sample_value
    await until(lambda: true(value("tastestream_folded_events_total") == 3))
    assert value("tastestream_event_to_summary_seconds_count") == 3
    (letter,) = await dead_letters(store)
    assert await store.dead_letters.retry(letter.id) == "retried"
    await until(lambda: true(value("tastestream_folded_events_total") == 6))
    ids = [one.id async for one in store.log.read(store.log.bucket("rebuilt")) if one.event.user_id == "rebuilt"]
    (result,) = await store.rebuilds.rebuild({"rebuilt": ids}, ids[-1])
    assert result.outcome == "rebuilt"
    await until(lambda: true(value("tastestream_folded_events_total") == 9))
    assert value("tastestream_event_to_summary_seconds_count") == 3


async def test_calls_to_the_model_are_counted_per_claim(store: Store, start: Start) -> None:
    await put(store, [event("u", number) for number in range(9)])
    await store.events.accept([event("unknown", number) for number in range(3)], 0)
    worker = await start(RecordingSummarizer())
    await until(lambda: summary_is(store, "u", names("u", 9)))
    await until(lambda: folded_all(store, "unknown", 3))
    await worker.drain()
    value = worker.metrics.registry.get_sample_value
    assert value("tastestream_fold_llm_calls_count") == 2
    assert value("tastestream_fold_llm_calls_sum") == 3
    assert value("tastestream_fold_llm_calls_bucket", {"le": "0.0"}) == 1, "items that nobody knows cost none"


async def test_inside_a_block_events_are_ordered_by_their_time(store: Store, start: Start) -> None:
    late = [event("u", number, timestamp_ms=NOW_MS - number) for number in range(6)]
    await put(store, late)
    await start(RecordingSummarizer())
    await until(lambda: summary_is(store, "u", "u-2 u-1 u-0 u-5 u-4 u-3"))


async def test_a_burst_costs_one_call_per_full_block_and_a_long_backlog_few(store: Store, start: Start) -> None:
    engine = RecordingSummarizer()
    await put(store, [event("burst", number) for number in range(10)])
    await put(store, [event("long", number) for number in range(300)])
    await start(engine)
    await until(lambda: summary_is(store, "long", names("long", 300)))
    await until(lambda: summary_is(store, "burst", names("burst", 10)))
    assert sum(block[0].startswith("burst") for block in engine.blocks) == 3
    assert sum(block[0].startswith("long") for block in engine.blocks) <= 30


async def test_an_event_of_an_unknown_item_is_folded_without_the_model_and_counted(store: Store, start: Start) -> None:
    await store.items.put(Item("known", "known", picture="0" * 64))
    await store.events.accept([event("u", 1), Event("e2", "u", "known", "click", NOW_MS)], 0)
    worker = await start(RecordingSummarizer())
    await until(lambda: summary_is(store, "u", "known"))
    await worker.drain()
    assert worker.metrics.folded_events_missing.labels("item")._value.get() == 1
    assert worker.metrics.folded_events_missing.labels("description")._value.get() == 1


async def test_a_block_of_unknown_items_leaves_the_summary_as_it_is_without_a_call(store: Store, start: Start) -> None:
    engine = RecordingSummarizer()
    worker = await start(engine)
    await put(store, [event("u", number) for number in range(3)])
    await until(lambda: summary_is(store, "u", names("u", 3)))
    await store.events.accept([event("u", number) for number in range(3, 9)], 0)
    await store.events.accept([event("new", number) for number in range(3)], 0)
    await until(lambda: folded_all(store, "u", 9))
    await until(lambda: folded_all(store, "new", 3))
    assert (await text(store, "u"), await text(store, "new")) == (names("u", 3), "")
    assert len(engine.blocks) == 1
    await worker.drain()
    assert worker.metrics.folded_events_missing.labels("item")._value.get() == 9
    assert worker.metrics.folded_events._value.get() == 12


async def test_exposures_are_folded_without_a_call_and_change_nothing(store: Store, start: Start) -> None:
    engine = RecordingSummarizer()
    worker = await start(engine)
    shown = [event("u", number, type="impression") for number in range(6)]
    await store.items.put_many([Item(one.item_id, one.item_id) for one in shown])
    await store.events.accept(shown, 0, {"impression"})
    await put(store, [event("u", 6)])
    await until(lambda: folded_all(store, "u", 7))
    assert (await text(store, "u"), engine.blocks) == ("u-6", [["u-6"]])
    user = await store.users.read("u")
    assert ([one.item_id for one in user.recents], user.seen) == (["u-6"], {"u-6"})
    await worker.drain()
    assert worker.metrics.folded_events_missing.labels("interaction")._value.get() == 6
