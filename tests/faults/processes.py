"""Processes of the service that a test starts, kills, pauses and lets go on."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import httpx

from model_store.certificates import trusted

START_S = 300.0


class ServiceProcess:
    """`tastestream gateway`, `worker` or `encoder`; may be started again after its end. Its log is appended to `log`.

    With `niceness`, it gets less of the CPU than other processes of this session.
    """

    def __init__(
        self,
        command: Literal["gateway", "worker", "encoder"],
        environment: Mapping[str, str],
        log: Path,
        niceness: int = 0,
        arguments: Sequence[str] = (),
    ) -> None:
        self._command = command
        self._arguments = arguments
        self._niceness = niceness
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        assert not self.running
        with self._log.open("ab") as log:
            self._started_at = log.tell()
            command = [sys.executable, "-m", "service.cli.main", self._command, *self._arguments]
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, preexec_fn=partial(os.nice, self._niceness)
            )

    async def ready(self) -> None:
        """Wait until it does its work; fails when it has ended, or does not come up."""
        async with asyncio.timeout(START_S):
            while not await self._is_ready():
                assert self.running, f"tastestream {self._command} has ended; see {self._log}"
                await asyncio.sleep(0.02)

    async def _is_ready(self) -> bool:
        return b'"working"' in self._log.read_bytes()[self._started_at :]

    def errors(self, most: int = 10) -> list[str]:
        """The last errors in its log, of all its lives."""
        lines = self._log.read_text("utf-8").splitlines() if self._log.exists() else []
        return [f"{self._log.name}: {line}" for line in lines if '"level":"error"' in line][-most:]

    def kill(self) -> None:
        """End it as kill -9 does; also one that is paused, or that has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its exit status."""
        self._signal(signal.SIGTERM)
        assert self._process is not None
        async with asyncio.timeout(START_S):
            while (status := self._process.poll()) is None:  # noqa: ASYNC110 - the end of another process
                await asyncio.sleep(0.01)
        return status

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)


class GatewayProcess(ServiceProcess):
    """A gateway on a port of its own, which it keeps over restarts."""

    def __init__(self, port: int, environment: Mapping[str, str], log: Path) -> None:
        super().__init__("gateway", {**environment, "TASTESTREAM_PORT": str(port)}, log)
        self.url = f"http://127.0.0.1:{port}"

    async def _is_ready(self) -> bool:
        async with httpx.AsyncClient(verify=trusted(), trust_env=False) as client:
            try:
                await client.get(f"{self.url}/healthz")
            except httpx.TransportError:
                return False
        return True
