"""The picture encoders that `tastestream up` starts for models whose pictures are soft tokens."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console

from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.serving.launch import free_port
from model_store.serving.processes import Child, ChildFailed, tail
from service.local.targets import address
from service.local.vllm import EMBEDDER, LocalEngine
from service.settings import PREFIX, Settings

_HOST = "127.0.0.1"
_START_S, _POLL_S = 300.0, 0.2


class LocalEncoder:
    """`tastestream encoder` of one version; `job` is what it is called among the processes, `role` is the version's."""

    def __init__(self, job: str, role: str, manifest: Manifest, registry: Registry, log: Path) -> None:
        port = free_port()
        self.job, self.role = job, role
        self.url = address(_HOST, port)
        self._version = manifest.id
        command = [sys.executable, "-m", "service.cli.main", "encoder", manifest.id, "--store", registry.root]
        self.child = Child(job, [*command, "--host", _HOST, "--port", str(port)], {}, log, background=True)

    async def wait(self, console: Console) -> None:
        """Wait until it answers.

        Raises:
            ChildFailed: it ended, or did not answer in time.
        """
        started = time.monotonic()
        async with httpx.AsyncClient(base_url=self.url, timeout=2.0, trust_env=False) as client:
            with console.status(f"encoder {self._version} ..."):
                while not await _answers(client):
                    self.child.check()
                    if time.monotonic() - started > _START_S:
                        raise ChildFailed(
                            f"the encoder does not answer after {_START_S:.0f} s. "
                            f"Its log, {self.child.log}, ends with:\n{tail(self.child.log)}"
                        )
                    await asyncio.sleep(_POLL_S)
        console.print(f"  encoder {self._version}: up after {time.monotonic() - started:.0f} s")


def needed_encoders(settings: Settings, engines: Sequence[LocalEngine], logs: Path) -> list[LocalEncoder]:
    """Those of the rankers and embedders that are started here, unless the settings name encoders."""
    named = {"ranker": settings.ranker.encoder_url, EMBEDDER: settings.embedder.encoder_url}
    needed = [
        engine
        for engine in engines
        if engine.role in named and not named[engine.role] and engine.manifest.picture_tokens
    ]
    jobs = [
        engine.job.replace("ranker", "encoder") if engine.role == "ranker" else f"{engine.job}-encoder"
        for engine in needed
    ]
    return [
        LocalEncoder(job, engine.role, engine.manifest, engine.registry, logs / f"{job}.log")
        for job, engine in zip(jobs, needed, strict=True)
    ]


def encoder_environment(encoders: Sequence[LocalEncoder]) -> dict[str, str]:
    """The settings that point gateway and worker to the encoders."""
    urls: dict[str, list[str]] = {}
    for encoder in encoders:
        urls.setdefault(encoder.role, []).append(encoder.url)
    return {f"{PREFIX}{role.upper()}__ENCODER_URL": ",".join(those) for role, those in urls.items()}


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx.TransportError:
        return False
