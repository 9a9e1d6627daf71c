"""The Redis behind the service, as an object that a test may kill, pause and look into."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from service.settings.state import StateSettings
from service.state.kinds import DERIVED, KINDS, lua_table
from service.state.redis.scripts import FOLDER, Script, constants, load
from tests.redis_servers import RedisCluster, RedisServer, admin_of, all_keys


class Backend(Protocol):
    """One Redis or a cluster; `node` counts round its masters."""

    @property
    def url(self) -> str: ...

    def kill(self, node: int = 0) -> None:
        """End a server as kill -9 does."""
        ...

    def start(self) -> None:
        """Start what was killed, with its append-only file, and wait until all is in order."""
        ...

    def pause(self, node: int = 0) -> None: ...

    def resume(self) -> None:
        """Let go on what was paused."""
        ...

    def close(self) -> None: ...


class SingleRedis:
    """One server on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self._server = RedisServer(folder)
        self._down = True
        self.start()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def socket(self) -> Path:
        return self._server.socket

    def kill(self, node: int = 0) -> None:
        self._server.kill()
        self._down = True

    def start(self) -> None:
        if self._down:
            self._server.start()
            self._down = False
            with admin_of(self.url) as admin:
                self._pid = int(admin.info("server")["process_id"])

    def pause(self, node: int = 0) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        if not self._down:
            os.kill(self._pid, signal.SIGCONT)

    def close(self) -> None:
        self._server.kill()


class ClusterRedis:
    """Three masters on loopback."""

    def __init__(self, folder: Path) -> None:
        self._cluster = RedisCluster(folder, node_timeout_ms=5000)
        self._cluster.__enter__()
        self._down: set[int] = set()

    @property
    def url(self) -> str:
        return self._cluster.url

    def kill(self, node: int = 0) -> None:
        self._down.add(self._master(node))
        self._cluster.kill(self._master(node))

    def start(self) -> None:
        for node in self._down:
            self._cluster.start(node)
        self._down.clear()
        self._cluster.settle()

    def pause(self, node: int = 0) -> None:
        if self._master(node) not in self._down:
            os.kill(self._cluster.pid(self._master(node)), signal.SIGSTOP)

    def resume(self) -> None:
        for node in set(self._cluster.masters) - self._down:
            os.kill(self._cluster.pid(node), signal.SIGCONT)

    def close(self) -> None:
        self._cluster.close()

    def _master(self, node: int) -> int:
        return node % len(self._cluster.masters)


def keys(url: str) -> list[str]:
    """All keys of the server, or of all masters, at `url`."""
    with admin_of(url) as admin:
        return [key.decode() for key in all_keys(admin)]


def scripts(settings: StateSettings) -> dict[str, Script]:
    """All scripts by name; those of leased work as `summarize claim`, `describe claim` and so on."""
    line = constants(settings, lua_table(DERIVED))
    leased = {
        f"{kind.name} {file.stem}": load(f"leases/{file.stem}", line, kind.prelude)
        for kind in KINDS
        for file in (FOLDER / "leases").glob("*.lua")
    }
    return {file.stem: load(file.stem, line) for file in FOLDER.glob("[!_]*.lua")} | leased


def load_scripts(url: str, settings: StateSettings) -> None:
    """Make all scripts known, so that a strike meets a script itself and not the refusal of its digest."""
    with admin_of(url) as admin:
        for script in scripts(settings).values():
            admin.script_load(script.source)


def queue_sizes(url: str) -> Mapping[str, int]:
    """By key: how many dead letters each bucket has, and how many pending events its counter tells."""
    with admin_of(url) as admin:
        letters = {key.decode(): int(admin.xlen(key)) for key in all_keys(admin, "ts:{b*}:dead")}
        return letters | {key.decode(): int(admin.get(key) or 0) for key in all_keys(admin, "ts:{b*}:backlog")}


def log_users(url: str) -> set[str]:
    """The users that the event log names."""
    with admin_of(url) as admin:
        logs = all_keys(admin, "ts:{b*}:log")
        return {fields[b"u"].decode() for log in logs for _, fields in admin.xrange(log)}
