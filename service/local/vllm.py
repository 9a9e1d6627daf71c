"""The vLLM servers that `tastestream up` starts for the model roles that have no URL."""

import time
from pathlib import Path

from rich.console import Console

from model_store.demo import MODELS
from model_store.engine.engine import open_engine
from model_store.engine.errors import WrongScores
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.serving.launch import VllmServer
from model_store.serving.processes import ChildFailed
from service.settings import PREFIX, Settings


class LocalEngine:
    """One vLLM server for one role, and the settings that point gateway and worker to it."""

    def __init__(
        self, role: str, manifest: Manifest, registry: Registry, log: Path, *, port: int | None = None
    ) -> None:
        self.role = role
        self.manifest = manifest
        self.registry = registry
        weights, prompts = registry.local_folder(manifest), registry.prompts(manifest)
        self.server = VllmServer(manifest, weights, prompts, log, background=role == "summarizer", port=port)
        self._started = 0.0

    async def start(self) -> None:
        self._started = time.monotonic()
        await self.server.start()

    async def wait(self, console: Console) -> None:
        """Wait until the server answers, show its progress, and check that it scores as the version's probe does.

        Raises:
            ChildFailed: it ended, is not healthy in time, or its scores are wrong.
        """
        with console.status(self._line(0.0, "starting")) as status:
            await self.server.wait_healthy(lambda elapsed, phase: status.update(self._line(elapsed, phase)))
        engine = open_engine(self.server.url, None, self.manifest.id, self.registry)
        try:
            await engine.check()
        except WrongScores as error:
            raise ChildFailed(f"{self.role} {self.manifest.id}: {error}") from None
        finally:
            await engine.close()
        console.print(f"  {self.role} {self.manifest.id}: up after {time.monotonic() - self._started:.0f} s")

    def _line(self, elapsed: float, phase: str) -> str:
        return f"{self.role} {self.manifest.id}: {phase} ... {elapsed:.0f} s"

    def environment(self) -> dict[str, str]:
        prefix = f"{PREFIX}{self.role.upper()}__"
        return {
            f"{prefix}URL": self.server.url,
            f"{prefix}MODEL": self.manifest.id,
            f"{prefix}VERSION": self.manifest.id,
            f"{PREFIX}MODEL_STORE": self.registry.root,
        }


def choose(settings: Settings, models: str, logs: Path) -> list[LocalEngine]:
    """The model servers to start: one for each role that has no URL.

    Args:
        models: the name of the model family. `demo` is built in; any other is in the model store as
            `<models>-summarizer` and `<models>-ranker`.

    Raises:
        ManifestError: the store has no such version, or its files were changed.
    """
    registry = Registry(MODELS if models == "demo" else settings.models_folder.resolve())
    return [
        LocalEngine(role, registry.get(f"{models}-{role}"), registry, logs / f"{role}.log")
        for role in ("summarizer", "ranker")
        if getattr(settings, role).url is None
    ]
