"""I1, I2, I3, I4, I7: each process killed, cut off or paused at each moment that could lose or repeat an event.

After the blow everything comes back, the caller sends again what was not acknowledged, and every event must be
in its user's summary once and in order.
"""

import asyncio

import pytest

from tests.faults.client import numbered
from tests.faults.harness import QUIET_S, Fleet
from tests.faults.redis_proxy import Cut, Hold, RedisProxy, Side
from tests.faults.summarizer import Mood
from tests.stores import dead_letters

pytestmark = pytest.mark.asyncio(loop_scope="package")
SIDES: tuple[Side, ...] = ("before", "after")


@pytest.mark.parametrize("side", SIDES)
async def test_a_gateway_killed_around_the_accept(fleet: Fleet, gateway_proxy: RedisProxy, side: Side) -> None:
    user, (gateway, _) = await fleet.new_user(), fleet.gateways

    async def kill() -> None:
        gateway.kill()
        raise Cut

    strike = gateway_proxy.strike("accept", side, kill, user)
    async with fleet.caller(gateway) as caller:
        sending = asyncio.create_task(caller.send(numbered(user, range(3))))
        await strike.done()
        accepted = await fleet.known(user)
        gateway.start()
        answer = await sending
    assert accepted == (0 if side == "before" else 3)
    assert (answer["accepted"], answer["duplicates"]) == (3 - accepted, accepted)
    await fleet.judge([user])


async def test_an_accept_whose_answer_is_lost_is_acknowledged_once_it_is_known(
    fleet: Fleet, gateway_proxy: RedisProxy
) -> None:
    user = await fleet.new_user()
    strike = gateway_proxy.strike("accept", "after", cut, user)
    async with fleet.caller(fleet.gateways[0]) as caller:
        answer = await caller.send(numbered(user, range(3)))
    assert strike.struck.is_set()
    assert answer["accepted"] + answer["duplicates"] == 3
    await fleet.judge([user])


@pytest.mark.parametrize(
    ("script", "side", "calls"),
    [("summarize claim", "after", 1), ("summarize commit", "before", 2), ("summarize commit", "after", 1)],
    ids=["between claim and call", "between call and commit", "between commit and its answer"],
)
async def test_a_worker_killed(fleet: Fleet, worker_proxy: RedisProxy, script: str, side: Side, calls: int) -> None:
    user, (worker,) = await fleet.new_user(), fleet.workers

    async def kill() -> None:
        worker.kill()
        raise Cut

    strike = worker_proxy.strike(script, side, kill, user)
    await fleet.client.send(numbered(user, range(3)))
    await strike.done()
    worker.start()
    await fleet.judge([user])
    assert len(fleet.summarizer.asked_about(user)) == calls, "only what was not committed is asked again"


async def test_a_worker_killed_during_the_call(fleet: Fleet) -> None:
    user, (worker,) = await fleet.new_user(), fleet.workers

    async def kill(words: list[str]) -> None:
        if not fleet.summarizer.asked_about(user)[1:]:
            worker.kill()

    fleet.summarizer.before_answer = kill
    await fleet.client.send(numbered(user, range(3)))
    await fleet.ended(worker)
    worker.start()
    await fleet.judge([user])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("script", ["accept", "summarize commit"])
async def test_redis_killed(
    fleet: Fleet, gateway_proxy: RedisProxy, worker_proxy: RedisProxy, script: str, side: Side
) -> None:
    user = await fleet.new_user()

    async def kill() -> None:
        fleet.redis.kill()
        raise Cut

    strike = (gateway_proxy if script == "accept" else worker_proxy).strike(script, side, kill, user)
    async with fleet.caller(fleet.gateways[0]) as caller:
        sending = asyncio.create_task(caller.send(numbered(user, range(3))))
        await strike.done()
        fleet.redis.start()
        await sending
        await caller.send(numbered(user, range(3, 5)))
    await fleet.judge([user])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("script", ["summarize claim", "summarize commit"])
async def test_a_worker_cut_off_from_redis(fleet: Fleet, worker_proxy: RedisProxy, script: str, side: Side) -> None:
    user = await fleet.new_user()
    about = "" if (script, side) == ("summarize claim", "before") else user
    strike = worker_proxy.strike(script, side, cut, about)
    await fleet.client.send(numbered(user, range(3)))
    await strike.done()
    await fleet.judge([user])
    assert len(fleet.summarizer.asked_about(user)) == 1, "a commit is repeated, its prompt is not"
    assert (await fleet.version(user)) == 1
    await fleet.counted(numbered(user, range(3)))


async def test_a_commit_that_arrives_after_its_lease_changes_nothing(fleet: Fleet, worker_proxy: RedisProxy) -> None:
    user, (worker,) = await fleet.new_user(), fleet.workers
    late = worker_proxy.hold("summarize commit", "before", user)
    answered = worker_proxy.strike("summarize commit", "after", nothing, user)
    await fleet.client.send(numbered(user, range(3)))
    await late.wait()
    worker.pause()
    second = Hold()
    fleet.summarizer.before_answer = lambda words: second()
    async with fleet.another_worker():
        await second.wait()
        late.release()
        await answered.done()
        assert (await fleet.version(user)) == 0, "the lease is another worker's"
        worker.resume()
        second.release()
        await fleet.folded(user)
        assert (await fleet.version(user)) == 1
    await fleet.client.send(numbered(user, range(3, 6)))
    await fleet.judge([user])


async def test_a_worker_paused_past_its_lease_during_the_call_does_not_repeat_it(fleet: Fleet) -> None:
    user, (worker,) = await fleet.new_user(), fleet.workers
    answer = Hold()

    async def hold_the_first(words: list[str]) -> None:
        if not fleet.summarizer.asked_about(user)[1:]:
            await answer()

    fleet.summarizer.before_answer = hold_the_first
    await fleet.client.send(numbered(user, range(3)))
    await answer.wait()
    worker.pause()
    answer.release()
    async with fleet.another_worker():
        await fleet.folded(user)
        await fleet.client.send(numbered(user, range(3, 6)))
        await fleet.folded(user)
    worker.resume()
    await fleet.client.send(numbered(user, range(6, 9)))
    await fleet.judge([user])
    assert (await fleet.version(user)) == 3


async def test_every_trouble_of_the_summarizer_delays_a_fold_and_spoils_none(fleet: Fleet) -> None:
    moods = {await fleet.new_user(): mood for mood in Mood}
    spoiled: set[str] = set()

    def first_time(words: list[str]) -> Mood:
        user = words[0].partition("-")[0]
        if user in spoiled:
            return Mood.good
        spoiled.add(user)
        return moods[user]

    fleet.summarizer.mood = first_time
    for user in moods:
        await fleet.client.send(numbered(user, range(3)))
    await fleet.judge(moods)
    assert spoiled == set(moods)


@pytest.mark.parametrize(
    ("mood", "reason"), [(Mood.endless, "engine_timeout"), (Mood.failing, "engine_unavailable")], ids=["endless", "500"]
)
async def test_a_user_whose_prompt_is_never_answered_is_dead_lettered_at_last(
    fleet: Fleet, mood: Mood, reason: str
) -> None:
    poisoned = await fleet.new_user()
    others: list[str] = []
    fleet.summarizer.mood = lambda words: mood if f"{poisoned}-0" in words else Mood.good
    await fleet.client.send(numbered(poisoned, range(3)))
    async with asyncio.timeout(QUIET_S):
        while not (letters := await dead_letters(fleet.store)):
            others.append(await fleet.new_user(3))
            await fleet.client.send(numbered(others[-1], range(3)))
            await fleet.folded(others[-1])
    assert [(letter.key, letter.reason) for letter in letters] == [(poisoned, reason)]
    fleet.summarizer.heal()
    await fleet.judge([poisoned, *others], letters=True)


async def cut() -> None:
    raise Cut


async def nothing() -> None: ...
