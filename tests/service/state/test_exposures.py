"""Exposures are pending and logged, but neither recent nor seen."""

import pytest

from service.state.store import Store
from tests.service.state.conftest import Clock, event
from tests.stores import dead_letters

EXPOSURES = frozenset({"impression"})


@pytest.mark.parametrize("folded", [False, True])
async def test_a_thousand_impressions_displace_no_seen_item_or_recent(store: Store, clock: Clock, folded: bool) -> None:
    deeds = [event("u", number) for number in range(30)]
    assert set(await store.events.accept(deeds, clock())) == {"accepted"}
    shown = [event("u", 100 + number, item=f"shown-{number}", type="impression") for number in range(900)]
    assert set(await store.events.accept(shown, clock(), EXPOSURES)) == {"accepted"}
    if folded:
        while (await store.users.read("u")).pending:
            (claim,) = await store.summaries.claim(1)
            assert await store.summaries.commit(claim, "text", "m", "p", len(claim.pending))
    user = await store.users.read("u")
    assert user.seen == {one.item_id for one in deeds}
    assert [one.item_id for one in user.recents] == [one.item_id for one in deeds[-20:]]


async def test_an_exposure_is_accepted_once_and_logged(store: Store, clock: Clock) -> None:
    shown = event("u", 1, type="impression")
    assert await store.events.accept([shown], clock(), EXPOSURES) == ["accepted"]
    assert await store.events.accept([shown], clock(), EXPOSURES) == ["duplicate"]
    logged = []
    for bucket in store.log.buckets:
        logged += [one.event async for one in store.log.read(bucket)]
    assert [(one.event_id, one.exposure) for one in logged] == [(shown.event_id, True)]


async def test_an_exposure_stays_one_when_it_is_dead_lettered_or_folded_again(store: Store, clock: Clock) -> None:
    await store.events.accept([event("u", 1, type="impression")], clock(), EXPOSURES)
    clock.pass_s(10)
    (claim,) = await store.summaries.claim(1)
    assert claim.pending[0].exposure
    assert await store.summaries.dead_letter(claim, "no reason", 1) == "dead_lettered"
    (letter,) = await dead_letters(store)
    assert letter.events[0].exposure
    assert (await store.users.read("u")).recents == ()
