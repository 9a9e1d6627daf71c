"""Real Redis for the tests: one server on a Unix socket, or a cluster on loopback ports; both with AOF.

`TEST_REDIS_SERVER` names another `redis-server` executable than the one in the environment.
"""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import redis

from service.local.redis import redis_executable

SLOTS = 16384
START_S = 300.0
Admin = redis.Redis | redis.RedisCluster

FIXTURES = {"one": "redis_server", "cluster": "redis_cluster"}
on_both = pytest.mark.parametrize("redis_url", list(FIXTURES), indirect=True)
on_one_redis = pytest.mark.parametrize("redis_url", ["one"], indirect=True)
on_a_cluster = pytest.mark.parametrize("redis_url", ["cluster"], indirect=True)


def emptied(request: pytest.FixtureRequest, kind: str) -> str:
    """The URL of the session's Redis or cluster, without any key."""
    server = request.getfixturevalue(FIXTURES[kind])
    server.flush()
    return str(server.url)


def executable() -> str:
    return os.environ.get("TEST_REDIS_SERVER") or redis_executable()


@cache
def version() -> tuple[int, ...]:
    """The version of the server that the tests start, as 6.2.14 or 7.2.0."""
    told = subprocess.run([executable(), "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in told.split("v=")[1].split()[0].split("."))


def has_waitaof() -> bool:
    return version() >= (7, 2)


def admin_of(url: str, *, decode_responses: bool = False) -> Admin:
    """A client of the server or cluster at `url`."""
    if "+cluster://" in url:
        return _ClusterAdmin.from_url(url.replace("+cluster://", "://"), decode_responses=decode_responses)
    return redis.Redis.from_url(url, decode_responses=decode_responses)


class _ClusterAdmin(redis.RedisCluster):
    def close(self) -> None:
        """Close all connections: what the client leaves open is complained of when it is collected, in another test."""
        with suppress(AttributeError):  # There is none when the cluster could not be reached.
            for node in (*self.nodes_manager.nodes_cache.values(), *self.nodes_manager.startup_nodes.values()):
                if node.redis_connection is not None:
                    node.redis_connection.connection_pool.disconnect()
        super().close()


_NOTES = frozenset({"ts:buckets", b"ts:buckets"})


def all_keys(admin: Admin, pattern: str = "*") -> list[Any]:
    """The keys of one server, or of all masters, in lexical order, but for the note of the number of buckets."""
    if isinstance(admin, redis.Redis):
        return sorted(set(admin.scan_iter(pattern, count=1000)) - _NOTES)
    found: set[Any] = set()
    decode = admin.get_encoder().decode_responses
    for node in admin.get_primaries():
        # The cluster's own iterator leaves connections open.
        with redis.Redis(host=node.host, port=node.port, decode_responses=decode) as master:
            found.update(master.scan_iter(pattern, count=1000))
    return sorted(found - _NOTES)


class RedisServer:
    """A `redis-server` process in `folder`; `kill` and `start` again keep its append-only file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *extra: str) -> None:
        self._process = _spawn(
            *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
            *extra,
        )
        with self.admin() as client:
            until(lambda: _answers(client), "redis-server does not answer")

    def kill(self) -> None:
        if self._process is not None:
            _kill(self._process)
            self._process = None

    @property
    def pid(self) -> int:
        """The process id of the running server, to pause it."""
        assert self._process is not None, "not running"
        return self._process.pid

    def admin(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket))

    def flush(self) -> None:
        with self.admin() as client:
            client.flushall()


class RedisCluster:
    """`masters` servers that share the slots evenly, each with a replica when `replicas` is true.

    Nodes are numbered: the masters first, then the replica of each. A node keeps its number, port and
    append-only file when it is killed and started again, whatever its role has become.

    Args:
        folder: holds one folder per node.
        node_timeout_ms: after this long without an answer a node counts as failed; by default, longer
            than a busy machine may keep one waiting.
    """

    def __init__(
        self, folder: Path, masters: int = 3, *, replicas: bool = False, node_timeout_ms: int = 60_000
    ) -> None:
        self.masters = range(masters)
        self.nodes = range(masters * 2 if replicas else masters)
        self.folder = folder
        self.ports = _free_ports(len(self.nodes))
        self.url = f"redis+cluster://127.0.0.1:{self.ports[0]}"
        self._node_timeout_ms = node_timeout_ms
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "RedisCluster":
        """Start all nodes and join them."""
        try:
            for node in self.nodes:
                self.start(node)
            self._join()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, node: int, *extra: str) -> None:
        """Start one node and wait until it answers; it may still have to find its place in the cluster."""
        folder = self.folder / f"node-{node}"
        folder.mkdir(parents=True, exist_ok=True)
        self._processes[node] = _spawn(
            *("--port", str(self.ports[node]), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(self._node_timeout_ms)),
            # However long a replica was cut off, it may take over.
            *("--cluster-replica-validity-factor", "0"),
            *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),
            *extra,
        )
        with self.admin(node) as client:
            until(lambda: _answers(client), f"node {node} does not answer")

    def kill(self, node: int) -> None:
        """End one node as kill -9 does; also one that is paused."""
        if node in self._processes:
            _kill(self._processes.pop(node))

    def wipe(self, node: int) -> None:
        """Take the data of a killed node away; it still knows its place in the cluster."""
        for found in (self.folder / f"node-{node}").glob("*"):
            if found.is_dir():
                shutil.rmtree(found)
            elif found.name != "nodes.conf":
                found.unlink()

    def pid(self, node: int) -> int:
        """The process id of a running node, to pause it."""
        return self._processes[node].pid

    def close(self) -> None:
        for node in list(self._processes):
            self.kill(node)

    def admin(self, node: int) -> redis.Redis:
        """A client of one node alone."""
        return redis.Redis(port=self.ports[node])

    def keys(self, pattern: str = "*") -> list[str]:
        """Keys of all masters."""
        with admin_of(self.url, decode_responses=True) as client:
            return all_keys(client, pattern)

    def flush(self) -> None:
        """Empty the masters; their replicas follow."""
        for node in list(self._processes):
            with self.admin(node) as client:
                if client.role()[0] == b"master":
                    client.flushall()

    def role(self, node: int) -> str:
        """`master` or `slave`, as the node itself says."""
        with self.admin(node) as client:
            return str(client.role()[0].decode())

    def settle(self) -> None:
        """Wait until every running node finds the cluster whole and every replica has caught up."""
        for node in self._processes:
            with self.admin(node) as client:
                until(lambda client=client: _is_settled(client), f"node {node} finds no whole cluster")

    def _join(self) -> None:
        for node in self.nodes:
            with self.admin(node) as client:
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", node + 1)
                if node in self.masters:
                    first, last = (SLOTS * at // len(self.masters) for at in (node, node + 1))
                    client.execute_command("CLUSTER ADDSLOTS", *range(first, last))
        for node in self.nodes:
            with self.admin(node) as client:
                for other in self.nodes:
                    client.execute_command("CLUSTER MEET", "127.0.0.1", self.ports[other])
        for replica in self.nodes[len(self.masters) :]:
            with self.admin(replica) as client, self.admin(replica - len(self.masters)) as master:
                until(lambda client=client: self._knows_all(client), f"node {replica} does not know the others")
                client.execute_command("CLUSTER REPLICATE", master.execute_command("CLUSTER MYID"))
        self.settle()

    def _knows_all(self, client: redis.Redis) -> bool:
        known = client.execute_command("CLUSTER NODES").values()
        return len(known) == len(self.nodes) and all("handshake" not in one["flags"] for one in known)


def _is_settled(client: redis.Redis) -> bool:
    if client.execute_command("CLUSTER INFO").get("cluster_state") != "ok":
        return False
    role = client.role()
    return role[0] == b"master" or role[3] == b"connected"


def _spawn(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([executable(), *arguments], stdout=subprocess.DEVNULL)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.BusyLoadingError):
        return False


def until(condition: Callable[[], bool], otherwise: str, within_s: float = START_S) -> None:
    """Return when `condition` is true; fail, saying `otherwise`, if it isn't in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


def _free_ports(count: int) -> list[int]:
    """Free ports whose cluster bus ports, 10,000 above, are free too; below those that the kernel gives to clients."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 20_000)
        with socket.socket() as client, socket.socket() as bus:
            try:
                client.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
