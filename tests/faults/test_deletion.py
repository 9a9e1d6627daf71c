"""I5: a user is deleted while a write about it is on its way, and comes back with new events.

The old events never come back, the new ones are folded once, and after a last deletion no key of the user is left.
"""

import asyncio

import httpx
import pytest

from tests.faults.client import body, numbered
from tests.faults.harness import PATIENT_S, Fleet, until
from tests.faults.redis_proxy import Hold, RedisProxy, Side
from tests.faults.summarizer import Mood
from tests.stores import dead_letters

pytestmark = pytest.mark.asyncio(loop_scope="package")
OLD, NEW = range(3), range(3, 6)


async def delete_and_come_back(fleet: Fleet, user: str) -> None:
    """By the second gateway, whose way to Redis is free."""
    async with fleet.caller(fleet.gateways[1]) as free:
        await free.delete(user)
        assert await fleet.known(user) == 0
        await free.send(numbered(user, NEW))


async def nothing() -> None: ...


async def judge_and_delete(fleet: Fleet, user: str) -> None:
    await fleet.judge([user])
    assert await fleet.words(user) == numbered(user, NEW)
    await fleet.assert_gone(user)


@pytest.mark.parametrize(
    ("script", "side"),
    [("summarize claim", "after"), ("summarize commit", "before"), ("summarize commit", "after")],
    ids=["a claim on its way to the worker", "a commit on its way to Redis", "a commit's answer on its way"],
)
async def test_a_worker_in_the_midst_of_its_work(
    fleet: Fleet, worker_proxy: RedisProxy, script: str, side: Side
) -> None:
    user = await fleet.new_user()
    hold = worker_proxy.hold(script, side, user)
    await fleet.client.send(numbered(user, OLD))
    await hold.wait()
    await delete_and_come_back(fleet, user)
    hold.release()
    await judge_and_delete(fleet, user)


async def test_a_model_in_the_midst_of_its_answer(fleet: Fleet) -> None:
    user, answer = await fleet.new_user(), Hold()

    async def hold_the_first(words: list[str]) -> None:
        if words == numbered(user, OLD):
            await answer()

    fleet.summarizer.before_answer = hold_the_first
    await fleet.client.send(numbered(user, OLD))
    await answer.wait()
    await delete_and_come_back(fleet, user)
    answer.release()
    await judge_and_delete(fleet, user)


async def test_a_refusal_on_its_way_to_the_dead_letters(fleet: Fleet, worker_proxy: RedisProxy) -> None:
    user = await fleet.new_user()
    hold = worker_proxy.hold("summarize dead_letter", "before", user)
    answered = worker_proxy.strike("summarize dead_letter", "after", nothing, user)
    fleet.summarizer.mood = lambda words: Mood.empty if f"{user}-0" in words else Mood.good
    await fleet.client.send(numbered(user, OLD))
    await hold.wait()
    await delete_and_come_back(fleet, user)
    hold.release()
    await answered.done()
    await judge_and_delete(fleet, user)


async def test_a_dead_letter_goes_with_its_user(fleet: Fleet) -> None:
    user = await fleet.new_user()
    fleet.summarizer.mood = lambda words: Mood.empty if f"{user}-0" in words else Mood.good
    await fleet.client.send(numbered(user, OLD))

    async def buried() -> bool:
        return user in {letter.key for letter in await dead_letters(fleet.store)}

    await until(buried)
    await delete_and_come_back(fleet, user)
    assert not await buried()
    await judge_and_delete(fleet, user)


async def test_events_on_their_way_to_redis_are_refused(fleet: Fleet, gateway_proxy: RedisProxy) -> None:
    user, (gateway, _) = await fleet.new_user(), fleet.gateways
    hold = gateway_proxy.hold("accept", "before", user)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENT_S, trust_env=False) as late:
        sending = asyncio.create_task(late.post("/events", json=[body(one) for one in numbered(user, OLD)]))
        await hold.wait()
        await delete_and_come_back(fleet, user)
        hold.release()
        answer = await sending
    assert answer.status_code == 422
    assert {one["code"] for one in answer.json()["rejected"]} == {"user_deleted"}
    await judge_and_delete(fleet, user)


async def test_events_whose_acceptance_is_on_its_way_back_are_gone(fleet: Fleet, gateway_proxy: RedisProxy) -> None:
    user, (gateway, _) = await fleet.new_user(), fleet.gateways
    hold = gateway_proxy.hold("accept", "after", user)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENT_S, trust_env=False) as late:
        sending = asyncio.create_task(late.post("/events", json=[body(one) for one in numbered(user, OLD)]))
        await hold.wait()
        await delete_and_come_back(fleet, user)
        hold.release()
        assert (await sending).status_code == 202
    await judge_and_delete(fleet, user)


async def test_a_user_deleted_between_every_two_sendings_keeps_the_last_alone(fleet: Fleet) -> None:
    user = await fleet.new_user()
    for first in range(0, 18, 3):
        await fleet.client.delete(user)
        await fleet.client.send(numbered(user, range(first, first + 3)))
    await fleet.judge([user])
    assert await fleet.words(user) == numbered(user, range(15, 18))
    await fleet.assert_gone(user)
