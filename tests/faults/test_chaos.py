"""I1 to I7 under random faults: thousands of events while gateways, workers, Redis and the summarizer break.

A failing run prints its seed. `TEST_FAULT_SEED=<seed>` draws the same load and the same faults again (what they hit
depends on the machine, too), `TEST_FAULT_ROUNDS=<n>` plays that many rounds, each with users of its own:

    TEST_FAULT_ROUNDS=100 pytest tests/faults/test_chaos.py -s --timeout 0
"""

import gc
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.faults.backend import Backend, ClusterRedis, SingleRedis
from tests.faults.chaos import Chaos, Load
from tests.faults.harness import running_fleet

USERS, EVENTS, POISONED = 150, 16, 3
BACKENDS: dict[str, Callable[..., Backend]] = {"one": SingleRedis, "cluster": ClusterRedis}


@pytest.fixture(params=list(BACKENDS))
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    backend = BACKENDS[request.param](tmp_path_factory.mktemp("redis"))
    yield backend
    backend.close()


# redis-py's cluster client leaves sockets open that it lost with a node.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_random_faults_lose_nothing_repeat_nothing_and_keep_the_order(
    redis: Backend, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seed = os.environ.get("TEST_FAULT_SEED") or str(random.SystemRandom().randrange(10**9))
    async with running_fleet(redis, tmp_path_factory.mktemp("fleet"), gateways=2, workers=2) as fleet:
        for number in range(int(os.environ.get("TEST_FAULT_ROUNDS", "1"))):
            print(f"TEST_FAULT_SEED={seed}, round {number}")
            users = fleet.new_users(USERS)
            await fleet.put_items(users, EVENTS)
            chaos = Chaos(fleet, frozenset(users[:POISONED]), f"{seed} {number}")
            await chaos.run(Load(fleet.client, users, EVENTS, f"{seed} {number}").run())
            print(f"faults: {dict(Counter(chaos.done))}")
            await fleet.heal()
            await fleet.judge(users, letters=True)
            fleet.forget(users)
    gc.collect()
