"""Promises about health and metrics: concurrent callers share one probe of Redis and the model servers."""

import asyncio

import pytest

from service import operations
from service.operations import SharedProbe
from service.state.store import Store
from tests.service.conftest import Gateway


async def test_many_callers_cost_one_probe(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("ping", "waiting"):
        method = getattr(Store, name)

        async def counted(self: Store, name: str = name, method: object = method) -> object:
            asked.append(name)
            return await method(self)  # type: ignore[operator]

        monkeypatch.setattr(Store, name, counted)
    monkeypatch.setattr(operations, "FRESH_S", 60.0)
    for path in ("/readyz", "/metrics"):
        answers = await asyncio.gather(*(gateway.ask("GET", path) for _ in range(8)))
        answers.append(await gateway.ask("GET", path))
        assert {answer.status_code for answer in answers} == {200}
    assert asked == ["ping", "waiting"]


class TestSharedProbe:
    @pytest.fixture
    def counted(self) -> SharedProbe[int]:
        self.probes = 0
        self.found = asyncio.Event()

        async def probe() -> int:
            self.probes += 1
            await self.found.wait()
            return self.probes

        return SharedProbe(probe)

    async def test_concurrent_callers_get_the_same_result(self, counted: SharedProbe[int]) -> None:
        asking = [asyncio.create_task(counted()) for _ in range(10)]
        await asyncio.sleep(0)
        self.found.set()
        assert await asyncio.gather(*asking) == [1] * 10

    async def test_a_cancelled_caller_does_not_cancel_the_probe(self, counted: SharedProbe[int]) -> None:
        first, second = asyncio.create_task(counted()), asyncio.create_task(counted())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        self.found.set()
        assert await second == 1

    async def test_an_old_result_is_refreshed(self, counted: SharedProbe[int], monkeypatch: pytest.MonkeyPatch) -> None:
        self.found.set()
        monkeypatch.setattr(operations, "FRESH_S", 60.0)
        assert (await counted(), await counted()) == (1, 1)
        monkeypatch.setattr(operations, "FRESH_S", 0.0)
        counted._fresh_until = 0.0
        assert (await counted(), await counted()) == (2, 3)

    async def test_a_failure_is_not_cached(self) -> None:
        results = iter([ValueError("no"), 1])

        async def probe() -> int:
            result = next(results)
            if isinstance(result, ValueError):
                raise result
            return int(result)

        shared = SharedProbe(probe)
        with pytest.raises(ValueError, match="no"):
            await shared()
        assert await shared() == 1
