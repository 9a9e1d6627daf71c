"""Erases a tenant."""

from collections.abc import AsyncIterator

from service.state.keys import BUCKETS, Keys
from service.state.redis.scripts import Scripts, unavailable

KEYS_PER_CALL = 500


class Erasure:
    """Removes every key of one tenant, whatever wrote it, by the beginning of its name."""

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._pattern = f"{keys.stem}*"

    async def count(self) -> int:
        """The number of keys that the tenant has; goes through all keys of Redis."""
        return sum([len(names) async for names in self._names()])

    async def erase(self) -> AsyncIterator[int]:
        """Remove all keys. Yields how many of each group there were.

        What is written meanwhile may be left.

        Raises:
            StateUnavailable: Redis did not answer; some keys may have been removed.
        """
        async for names in self._names():
            yield sum(await self._scripts.run([("UNLINK", name) for name in names]))

    async def _names(self) -> AsyncIterator[list[bytes]]:
        """The names of the keys, in groups; one may occur twice."""
        names: list[bytes] = []
        with unavailable():
            async for name in self._scripts.client.scan_iter(match=self._pattern, count=1000):
                if name.decode() != BUCKETS:
                    names.append(name)
                if len(names) == KEYS_PER_CALL:
                    yield names
                    names = []
        yield names
