"""The Redis behind the service, as an object that a test may kill, pause and look into."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import redis

from tests.conftest import RedisServer


class Backend(Protocol):
    """One Redis, or a cluster of them. `turn` chooses the node of a cluster."""

    @property
    def url(self) -> str: ...

    def kill(self, turn: int = 0) -> None:
        """End one server as kill -9 does."""
        ...

    def start(self) -> None:
        """Start what was killed, with its append-only file, and wait until all is in order."""
        ...

    def pause(self, turn: int = 0) -> None: ...

    def resume(self) -> None: ...

    def keys(self) -> list[str]:
        """All keys of all masters."""
        ...

    def queue_sizes(self) -> Mapping[str, int]:
        """By key: how many dead letters every bucket has, and how many pending events its counter tells."""
        ...

    def log_users(self) -> set[str]:
        """The users that the event log names."""
        ...

    def close(self) -> None: ...


class SingleRedis:
    """One server on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self._server = RedisServer(folder)
        self._server.start()
        self._read_pid()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def socket(self) -> Path:
        return self._server.socket

    def kill(self, turn: int = 0) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()
        self._read_pid()

    def pause(self, turn: int = 0) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def keys(self) -> list[str]:
        with self.admin() as admin:
            return [key.decode() for key in admin.scan_iter(count=1000)]

    def queue_sizes(self) -> Mapping[str, int]:
        with self.admin() as admin:
            return queue_sizes(admin)

    def log_users(self) -> set[str]:
        with self.admin() as admin:
            return log_users(admin)

    def close(self) -> None:
        self._server.kill()

    @contextmanager
    def admin(self) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(self.url) as client:
            yield client

    def _read_pid(self) -> None:
        with self.admin() as admin:
            self._pid = int(admin.info("server")["process_id"])


def queue_sizes(admin: Any) -> dict[str, int]:
    letters = {key.decode(): int(admin.xlen(key)) for key in admin.scan_iter("ts:{b*}:dead", count=1000)}
    backlogs = {key.decode(): int(admin.get(key) or 0) for key in admin.scan_iter("ts:{b*}:backlog", count=1000)}
    return letters | backlogs


def log_users(admin: Any) -> set[str]:
    logs = admin.scan_iter("ts:{b*}:log", count=1000)
    return {fields[b"u"].decode() for log in logs for _, fields in admin.xrange(log)}
