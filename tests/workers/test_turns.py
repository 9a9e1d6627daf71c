"""Free slots are shared by the tenants that have work, and none is left empty while there is any."""

from collections import Counter, deque
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import StateUnavailable
from service.state.records import Claim
from workers.turns import Turns


class Queue:
    """The part of a job that `Turns` needs. `down`: its Redis does not answer."""

    def __init__(self, name: str, waiting: int, *, down: bool = False) -> None:
        self.name = name
        self.waiting = deque(range(waiting))
        self.down = down
        self.asked = 0

    async def claim(self, limit: int) -> Sequence[Claim]:
        self.asked += 1
        if self.down:
            raise StateUnavailable("down")
        return [Claim(f"{self.name}-{self.waiting.popleft()}", 0, 0) for _ in range(min(limit, len(self.waiting)))]


def turns(*queues: Queue, again_s: float = 0.0) -> Turns[Claim]:
    now = iter(range(1_000_000))
    return Turns(queues, again_s, clock=lambda: float(next(now)))  # type: ignore[arg-type]


async def taken(of: Turns[Claim], limit: int) -> Counter[str]:
    claims = await of.claim(limit)
    assert all(claim.key.startswith(job.name) for job, claim in claims)
    return Counter(job.name for job, _ in claims)


async def test_a_huge_backlog_leaves_the_others_their_share() -> None:
    of = turns(Queue("big", 10_000), Queue("small", 5))
    assert await taken(of, 8) == {"big": 4, "small": 4}
    assert await taken(of, 8) == {"big": 7, "small": 1}
    assert await taken(of, 8) == {"big": 8}


async def test_slots_that_become_free_one_by_one_go_round() -> None:
    of = turns(Queue("a", 1000), Queue("b", 1000), Queue("c", 2))
    order = [next(iter(await taken(of, 1))) for _ in range(8)]
    assert Counter(order) == {"a": 3, "b": 3, "c": 2}
    assert all(one != following for one, following in pairwise(order))


async def test_work_that_arrives_later_gets_the_next_free_slot() -> None:
    late = Queue("late", 0)
    of = turns(Queue("big", 1000), late)
    assert await taken(of, 20) == {"big": 20}
    late.waiting.extend(range(3))
    assert await taken(of, 1) == {"late": 1}


async def test_an_idle_tenant_is_not_asked_for_every_slot_of_a_busy_one() -> None:
    idle = Queue("idle", 0)
    of = turns(Queue("busy", 1000), idle, again_s=10.0)
    for _ in range(40):
        assert await taken(of, 1) == {"busy": 1}
    assert idle.asked <= 5


async def test_a_failed_claim_does_not_lose_the_others() -> None:
    assert await taken(turns(Queue("a", 9), Queue("b", 9, down=True)), 8) == {"a": 8}
    with pytest.raises(StateUnavailable):
        await turns(Queue("a", 0), Queue("b", 9, down=True)).claim(8)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 40))
async def test_all_slots_are_used_and_nobody_with_less_than_a_share_waits(waiting: list[int], limit: int) -> None:
    queues = [Queue(f"q{number}:", size) for number, size in enumerate(waiting)]
    found = await taken(turns(*queues), limit)
    assert sum(found.values()) == min(limit, sum(waiting))
    share = limit // len(waiting)
    assert all(found[queue.name] >= min(share, size) for queue, size in zip(queues, waiting, strict=True))
