"""The vLLM servers that `tastestream up` starts for the model roles that have no URL."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from model_store.demo import MODELS
from model_store.engine.embed import Embedder, open_embedder
from model_store.engine.engine import Engine, open_engine
from model_store.engine.errors import WrongScores
from model_store.registry.aliases import CANARY, PRODUCTION, SHADOW
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.serving.launch import HOST, VllmServer
from model_store.serving.processes import ChildFailed
from service.settings import PREFIX, Settings
from service.settings.urls import is_remote

EMBEDDER = "embedder"


class LocalEngine:
    """One vLLM server for one role.

    Args:
        alias: the alias of the version; `production` for a name without one.
        also: the ids of other versions that the server serves with the same weights and prompts.
    """

    def __init__(
        self,
        role: str,
        manifest: Manifest,
        registry: Registry,
        log: Path,
        *,
        port: int | None = None,
        alias: str = PRODUCTION,
        also: Sequence[str] = (),
    ) -> None:
        self.role = role
        self.alias = alias
        self.manifest = manifest
        self.registry = registry
        weights, prompts = registry.local_folder(manifest), registry.templates(manifest)
        self.server = VllmServer(manifest, weights, prompts, log, background=role != "ranker", port=port, also=also)
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
        engine: Engine | Embedder
        if self.role == EMBEDDER:
            engine = open_embedder(self.server.url, self.manifest.id, self.registry)
        else:
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

    @property
    def job(self) -> str:
        """What it is called among the processes: its role, with an alias other than production."""
        return self.role if self.alias == PRODUCTION else f"{self.role}-{self.alias}"


def environment(engines: Sequence[LocalEngine]) -> dict[str, str]:
    """The settings that point gateway and worker to the servers.

    The gateway follows promotions, also to servers that `models serve` starts on this machine later.
    """
    variables: dict[str, str] = {}
    for role in dict.fromkeys(engine.role for engine in engines):
        production, *others = (engine for engine in engines if engine.role == role)
        prefix = f"{PREFIX}{role.upper()}__"
        variables[f"{prefix}URL"] = ",".join(engine.server.url for engine in (production, *others))
        variables[f"{PREFIX}MODEL_STORE"] = production.registry.root
        variables[f"{prefix}VERSION"] = production.manifest.id
        if role in (EMBEDDER, "ranker"):
            variables[f"{prefix}VERSION"] = production.manifest.name
            variables[f"{prefix}ALLOWED_URLS"] = f"http://{HOST}"
        else:
            variables[f"{prefix}MODEL"] = production.manifest.id
    return variables


def choose(settings: Settings, models: str, logs: Path) -> list[LocalEngine]:
    """The model servers to start: one for each role that has no URL, and one for a canary and a shadow of the ranker
    whose servers the store does not name. An embedder is started if the store has one.

    Args:
        models: the name of the model family. `demo` is built in; any other is in the model store as
            `<models>-summarizer` and `<models>-ranker`.

    Raises:
        ManifestError: the store has no such version, or its files were changed.
    """
    root = settings.models_root
    own = root if is_remote(root) else Path(root).resolve()
    registry = Registry(MODELS if models == "demo" else own)
    roles = [role for role in ("summarizer", "ranker") if getattr(settings, role).url is None]
    engines = [LocalEngine(role, registry.get(f"{models}-{role}"), registry, logs / f"{role}.log") for role in roles]
    if "ranker" in roles:
        name, production = f"{models}-ranker", engines[-1].manifest.version
        for alias, promotion in registry.promotions(name).items():
            if alias in (CANARY, SHADOW) and promotion.version != production and not promotion.urls:
                manifest = registry.get(f"{name}@{promotion.version}")
                engines.append(LocalEngine("ranker", manifest, registry, logs / f"ranker-{alias}.log", alias=alias))
    name = f"{models}-{EMBEDDER}"
    if settings.embedder.url is None and registry.versions(name):
        engines.append(LocalEngine(EMBEDDER, registry.get(name), registry, logs / f"{EMBEDDER}.log"))
    return engines
