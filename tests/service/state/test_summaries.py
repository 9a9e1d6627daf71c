"""I2, I3, I4, I7: one writer at a time, nothing lost or repeated, no user blocked."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from service.errors import StateUnavailable
from service.settings import Settings
from service.state.records import SummaryClaim
from service.state.redis.scripts import Call, Scripts
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.service.state.conftest import START_MS, Clock, event
from tests.stores import dead_letters


async def accept(store: Store, user: str, *numbers: int) -> None:
    results = await store.events.accept([event(user, number) for number in numbers], START_MS)
    assert set(results) == {"accepted"}


async def claim_one(store: Store) -> SummaryClaim:
    (claim,) = await store.summaries.claim(10)
    return claim


async def commit(store: Store, claim: SummaryClaim, folded: int) -> bool:
    text = (claim.summary.text if claim.summary else "") + "".join(f"[{e.event_id}]" for e in claim.pending[:folded])
    return await store.summaries.commit(claim, text, "m@1", "p", folded)


class TestDue:
    async def test_a_full_block_is_due_at_once(self, store: Store) -> None:
        await accept(store, "u", 1, 2)
        assert (await store.summaries.due())[0] == 0
        await accept(store, "u", 3)
        assert (await store.summaries.due())[0] == 1

    async def test_a_single_event_is_due_after_max_wait(self, store: Store, clock: Clock, settings: Settings) -> None:
        await accept(store, "u", 1)
        clock.pass_s(settings.state.max_wait_s - 0.01)
        await accept(store, "u", 2)
        assert await store.summaries.claim(1) == []
        clock.pass_s(0.01)
        assert [e.event_id for e in (await claim_one(store)).pending] == ["u-1", "u-2"]

    async def test_the_age_of_the_oldest_due_user_is_known(self, store: Store, clock: Clock) -> None:
        assert (await store.summaries.due())[1] == 0
        await accept(store, "u", 1, 2, 3)
        clock.pass_s(3)
        await accept(store, "v", 1, 2, 3)
        assert (await store.summaries.due())[1] == 3000

    async def test_a_busy_user_keeps_its_place_among_the_due(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3)
        clock.pass_s(3)
        await accept(store, "u", 4, 5, 6)
        assert (await store.summaries.due())[1] == 3000

    async def test_events_left_by_a_commit_are_due_by_the_same_rule(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3, 4, 5, 6, 7)
        assert await commit(store, await claim_one(store), 3)
        assert (await store.summaries.due())[0] == 1
        assert await commit(store, await claim_one(store), 3)
        assert (await store.summaries.due())[0] == 0
        clock.pass_s(5)
        assert [e.event_id for e in (await claim_one(store)).pending] == ["u-7"]


class TestAcceptance:
    async def test_a_claim_says_when_each_event_was_accepted(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1)
        clock.pass_s(2)
        await accept(store, "u", 2, 3)
        shown = event("u", 4, type="impression")
        await store.events.accept([shown], START_MS, {"impression"})
        assert (await claim_one(store)).accepted_ms == (START_MS, *[START_MS + 2000] * 3)

    async def test_what_waits_anew_does_not(self, store: Store) -> None:
        """It was accepted long ago, and the time of the entry is that of the retry."""
        await accept(store, "u", 1, 2, 3)
        await store.summaries.dead_letter(await claim_one(store), "bad", 3)
        (letter,) = await dead_letters(store)
        assert await store.dead_letters.retry(letter.id) == "retried"
        await accept(store, "u", 4)
        assert (await claim_one(store)).accepted_ms == (None, None, None, START_MS)


class TestLease:
    async def test_a_leased_user_can_not_be_claimed_even_if_events_arrive(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3)
        claim = await claim_one(store)
        await accept(store, "u", 4, 5, 6, 7)
        clock.pass_s(30)
        assert await store.summaries.claim(10) == []
        assert await commit(store, claim, 3)
        assert [e.event_id for e in (await claim_one(store)).pending] == ["u-4", "u-5", "u-6", "u-7"]

    async def test_many_workers_at_once_get_every_user_once(self, settings: Settings, store: Store) -> None:
        for user in range(60):
            await accept(store, f"u{user}", 1, 2, 3)
        stores = [Store(settings) for _ in range(6)]
        rounds = await asyncio.gather(*(worker.summaries.claim(20) for worker in stores))
        users = [claim.key for claims in rounds for claim in claims]
        users += [claim.key for claim in await store.summaries.claim(60)]
        assert len(users) == len(set(users)) == 60
        for worker in stores:
            await worker.close()

    async def test_a_worker_whose_lease_ran_out_cannot_change_anything(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3)
        late = await claim_one(store)
        clock.pass_s(60)
        assert not await commit(store, late, 3)
        assert await store.summaries.extend([late]) == [False]
        assert not await store.summaries.fail(late, 1)
        assert not await store.summaries.release(late)
        assert await store.summaries.dead_letter(late, "bad", 3) == "lost"
        claim = await claim_one(store)
        assert claim.token > late.token
        assert not await commit(store, late, 3)
        assert await commit(store, claim, 3)
        assert not await commit(store, late, 3)
        assert (await store.users.read("u")).summary.version == 1  # type: ignore[union-attr]

    async def test_an_extended_lease_holds(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3)
        claim = await claim_one(store)
        for _ in range(5):
            clock.pass_s(50)
            assert await store.summaries.extend([claim]) == [True]
            assert await store.summaries.claim(1) == []
        assert await commit(store, claim, 3)

    async def test_a_commit_whose_answer_was_lost_may_be_made_again(self, store: Store) -> None:
        await accept(store, "u", 1, 2, 3, 4, 5, 6)
        claim = await claim_one(store)
        assert await commit(store, claim, 3)
        assert await commit(store, claim, 3)
        read = await store.users.read("u")
        assert read.pending == 3
        assert read.summary is not None
        assert read.summary.version == 1

    async def test_a_commit_must_name_the_first_pending_events(
        self, store: Store, redis_url: str, settings: Settings
    ) -> None:
        """As after a failover that lost the last writes: the token is right, but the events differ."""
        await accept(store, "u", 1, 2, 3)
        claim = await claim_one(store)
        with admin_of(redis_url) as admin:
            (pending,) = all_keys(admin, "ts:*:p:u")
            admin.lpop(pending)
        assert not await commit(store, claim, 2)
        assert (await store.users.read("u")).pending == 2

    async def test_a_summary_written_by_other_means_is_not_overwritten(self, store: Store, redis_url: str) -> None:
        await accept(store, "u", 1, 2, 3, 4, 5, 6)
        assert await commit(store, await claim_one(store), 3)
        claim = await claim_one(store)
        with admin_of(redis_url) as admin:
            (summary,) = all_keys(admin, "ts:*:u:u")
            admin.set(summary, admin.get(summary).replace(b"1:", b"2:", 1))
        assert not await commit(store, claim, 3)
        assert (await store.users.read("u")).pending == 3

    async def test_tokens_grow_also_after_redis_lost_its_counter(
        self, store: Store, clock: Clock, redis_url: str
    ) -> None:
        await accept(store, "u", 1, 2, 3)
        first = await claim_one(store)
        with admin_of(redis_url) as admin:
            admin.delete(*all_keys(admin, "ts:*:fence"))
        clock.pass_s(61)
        assert (await claim_one(store)).token > first.token


class TestFailure:
    async def test_a_failed_user_waits_for_its_retry_even_if_events_arrive(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3)
        assert await store.summaries.fail(await claim_one(store), 10)
        await accept(store, "u", 4, 5, 6)
        clock.pass_s(9.9)
        assert await store.summaries.claim(1) == []
        clock.pass_s(0.1)
        claim = await claim_one(store)
        assert claim.attempts == 1
        assert len(claim.pending) == 6

    async def test_attempts_are_counted_until_something_is_committed(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3, 4, 5, 6)
        for attempt in range(3):
            claim = await claim_one(store)
            assert claim.attempts == attempt
            assert await store.summaries.fail(claim, 0)
        claim = await claim_one(store)
        assert await store.summaries.release(claim)
        claim = await claim_one(store)
        assert claim.attempts == 3
        assert await commit(store, claim, 3)
        assert (await claim_one(store)).attempts == 0

    async def test_a_released_user_is_due_at_once_or_after_a_while(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3)
        assert await store.summaries.release(await claim_one(store))
        assert await store.summaries.release(await claim_one(store), 5)
        assert await store.summaries.claim(1) == []
        clock.pass_s(5)
        assert (await claim_one(store)).attempts == 0

    async def test_events_that_failed_are_dead_lettered_and_the_summary_stays(self, store: Store) -> None:
        await accept(store, "u", 1, 2, 3)
        assert await commit(store, await claim_one(store), 3)
        before = (await store.users.read("u")).summary
        await accept(store, "u", 4, 5, 6, 7, 8, 9)
        claim = await claim_one(store)
        assert await store.summaries.dead_letter(claim, "answer_empty", 3) == "dead_lettered"
        (letter,) = await dead_letters(store)
        assert (letter.kind, letter.key, letter.reason, letter.at_ms) == ("summarize", "u", "answer_empty", START_MS)
        assert letter.events == claim.pending[:3]
        read = await store.users.read("u")
        assert (read.summary, read.pending) == (before, 3)

    async def test_a_retried_dead_letter_is_folded_after_pending_events(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3)
        assert await store.summaries.dead_letter(await claim_one(store), "bad", 3) == "dead_lettered"
        await accept(store, "u", 4)
        (letter,) = await dead_letters(store)
        assert await store.dead_letters.retry(letter.id) == "retried"
        assert await store.dead_letters.retry(letter.id) == "not_found"
        assert await store.dead_letters.count() == 0
        claim = await claim_one(store)
        assert [e.event_id for e in claim.pending] == ["u-4", "u-1", "u-2", "u-3"]
        assert claim.pending[1:] == letter.events

    async def test_a_dead_letter_retried_during_a_lease_waits_for_the_commit(self, store: Store, clock: Clock) -> None:
        await accept(store, "u", 1, 2, 3)
        assert await store.summaries.dead_letter(await claim_one(store), "bad", 3) == "dead_lettered"
        await accept(store, "u", 4, 5, 6)
        claim = await claim_one(store)
        (letter,) = await dead_letters(store)
        assert await store.dead_letters.retry(letter.id) == "retried"
        assert await store.summaries.claim(1) == []
        assert await commit(store, claim, 3)
        assert [e.event_id for e in (await claim_one(store)).pending] == ["u-1", "u-2", "u-3"]

    async def test_a_dropped_dead_letter_is_removed(self, store: Store) -> None:
        await accept(store, "u", 1, 2, 3)
        assert await store.summaries.dead_letter(await claim_one(store), "bad", 3) == "dead_lettered"
        (letter,) = await dead_letters(store)
        assert await store.dead_letters.drop(letter.id)
        assert not await store.dead_letters.drop(letter.id)
        assert await dead_letters(store) == []

    @pytest.mark.parametrize(
        "letter_id", ["", "b0", "b0-", "b0-x-1", "b99-1-0", "zz-1-0", "b0-1-0", "b0-+-0", "i0-1-0"]
    )
    async def test_an_invalid_dead_letter_id_is_not_found(self, store: Store, letter_id: str) -> None:
        assert await store.dead_letters.retry(letter_id) == "not_found"
        assert not await store.dead_letters.drop(letter_id)

    async def test_a_failing_user_blocks_no_other_in_its_bucket(self, store: Store, clock: Clock) -> None:
        await accept(store, "poison", 1, 2, 3)
        for round_ in range(20):
            await accept(store, f"u{round_}", 1, 2, 3)
            claims = {claim.key: claim for claim in await store.summaries.claim(10)}
            assert f"u{round_}" in claims
            if "poison" in claims:
                assert await store.summaries.fail(claims["poison"], 0.5)
            assert await commit(store, claims[f"u{round_}"], 3)
            clock.pass_s(0.2)


class TestFullDeadLetters:
    @pytest.fixture
    def state(self) -> dict[str, int]:
        return {"dead_letters": 1}

    async def test_no_event_is_lost_when_there_is_no_room_for_dead_letters(self, store: Store) -> None:
        await accept(store, "u", 1, 2, 3, 4, 5, 6)
        assert await store.summaries.dead_letter(await claim_one(store), "bad", 3) == "dead_lettered"
        claim = await claim_one(store)
        assert await store.summaries.dead_letter(claim, "bad", 3) == "full"
        assert await store.summaries.fail(claim, 0), "the claim is unchanged"
        assert (await store.users.read("u")).pending == 3
        (letter,) = await dead_letters(store)
        assert [e.event_id for e in letter.events] == ["u-1", "u-2", "u-3"]
        assert await store.dead_letters.drop(letter.id)
        assert await store.summaries.dead_letter(await claim_one(store), "bad", 3) == "dead_lettered"


class TestClaim:
    async def test_a_claim_holds_a_bounded_part_of_a_long_backlog(self, store: Store, settings: Settings) -> None:
        await accept(store, "u", *range(300))
        claim = await claim_one(store)
        assert len(claim.pending) == settings.state.claim_blocks * settings.state.catch_up_block
        assert (await store.users.read("u")).pending == 300
        assert claim.recents == (), "all of them are pending"
        assert await commit(store, claim, len(claim.pending))
        after = await claim_one(store)
        assert [one.item_id for one in after.recents] == [one.item_id for one in claim.pending[-20:]]

    async def test_one_busy_bucket_is_claimed_as_fast_as_many(self, store: Store) -> None:
        users = [f"u{number}" for number in range(400)]
        keys = store.summaries._keys
        one = [user for user in users if keys.bucket(user) == 0][:40]
        for user in one:
            await accept(store, user, 1, 2, 3)
        assert len(await store.summaries.claim(30)) == 30
        assert len(await store.summaries.claim(30)) == 10

    async def test_a_full_bucket_does_not_starve_the_others(self, store: Store) -> None:
        keys = store.summaries._keys
        busy = [user for user in (f"u{number}" for number in range(800)) if keys.bucket(user) == 1][:100]
        for user in busy:
            await accept(store, user, 1, 2, 3)
        await store.summaries.claim(8)
        quiet = next(user for user in (f"q{number}" for number in range(100)) if keys.bucket(user) == 2)
        await accept(store, quiet, 1, 2, 3)
        async with asyncio.timeout(60):
            claimed: set[str] = set()
            while quiet not in claimed:
                found = {claim.key for claim in await store.summaries.claim(2)}
                assert found, "all of the busy bucket went first"
                claimed |= found
                await asyncio.sleep(0.01)
        assert len(claimed) < 40

    async def test_claims_are_returned_if_redis_fails_during_the_second_round_trip(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        busy = [user for user in map(str, range(200)) if store.summaries._keys.bucket(user) == 1][:30]
        for user in busy:
            await accept(store, user, 1, 2, 3)
        run, runs = Scripts.run, 0

        async def once(scripts: Scripts, calls: Sequence[Call], **options: Any) -> list[Any]:
            nonlocal runs
            runs += 1
            if runs > 1:
                raise StateUnavailable("cut off")
            return await run(scripts, calls, **options)

        monkeypatch.setattr(Scripts, "run", once)
        claims = await store.summaries.claim(20)
        assert runs == 2
        assert 0 < len(claims) < 20
        with pytest.raises(StateUnavailable):
            await store.summaries.claim(20)

    async def test_a_commit_of_no_event_or_of_too_long_a_text_is_refused(self, store: Store) -> None:
        await accept(store, "u", 1, 2, 3)
        claim = await claim_one(store)
        with pytest.raises(ValueError, match="0 of 3"):
            await store.summaries.commit(claim, "t", "m", "p", 0)
        with pytest.raises(ValueError, match="4 of 3"):
            await store.summaries.commit(claim, "t", "m", "p", 4)
        with pytest.raises(ValueError, match="4001 characters"):
            await store.summaries.commit(claim, "x" * 4001, "m", "p", 3)
