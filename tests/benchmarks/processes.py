"""The processes of a benchmark: a Redis, a gateway, a worker, all children of one session.

Linux shares the CPU out by session first (autogroup), so that a server in a session of its own would get
another share than one beside its client. Each child leads a process group: a Ctrl-C reaches only the benchmark.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import redis

from model_store.errors import UserError
from model_store.serving.launch import free_port
from model_store.serving.processes import tail
from tests.conftest import RedisServer

_START_S = 60.0
_STOP_S = 30.0


@dataclass(frozen=True)
class Bench:
    """A folder, a Redis in it, and a plain client of that Redis."""

    folder: Path
    url: str
    redis: redis.Redis
    redis_pid: int

    def environment(self, **settings: object) -> dict[str, str]:
        """The service's settings as environment variables: this Redis, this folder, and `settings`."""
        given = {"REDIS_URL": self.url, "DATA_DIR": self.folder / "data", **settings}
        outside = {name: value for name, value in os.environ.items() if not name.startswith("TASTESTREAM_")}
        return {**outside, **{f"TASTESTREAM_{name}": str(value) for name, value in given.items()}}


@contextlib.contextmanager
def bench(*redis_options: str) -> Iterator[Bench]:
    """A Redis with an append-only file, fsynced each second and never rewritten in the middle of a measurement."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        server = RedisServer(Path(name))
        try:
            server.start("--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0", *redis_options)
            with redis.Redis(unix_socket_path=str(server.socket)) as client:
                yield Bench(Path(name), server.url, client, client.info("server")["process_id"])
        finally:
            server.kill()


@contextlib.contextmanager
def child(name: str, module: str, *arguments: str, environment: Mapping[str, str], folder: Path) -> Iterator[int]:
    """`python -m <module>`, until the block ends; yields its process id."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        yield process.pid
        if process.poll() is not None:
            raise UserError(f"{name} ended with status {process.returncode}; its log ends with:\n{tail(log)}")
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Web:
    """A web server on the loopback."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def gateway(given: Bench, **settings: object) -> Iterator[Web]:
    """`tastestream gateway`, once it answers."""
    port = free_port()
    environment = given.environment(PORT=port, **settings)
    with child("gateway", "service.cli.main", "gateway", environment=environment, folder=given.folder) as pid:
        web = Web(port, pid)
        wait_for(f"{web.url}/healthz", given.folder / "gateway.log")
        yield web


@contextlib.contextmanager
def worker(given: Bench, **settings: object) -> Iterator[int]:
    """`tastestream worker`; yields its process id."""
    environment = given.environment(**settings)
    with child("worker", "service.cli.main", "worker", environment=environment, folder=given.folder) as pid:
        yield pid


def wait_for(url: str, log: Path) -> None:
    """Return when `url` answers 200."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with direct.open(url, timeout=2):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(f"{url} does not answer ({error}); the log ends with:\n{tail(log)}") from None
            time.sleep(0.05)
