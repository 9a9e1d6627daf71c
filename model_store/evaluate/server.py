"""The server of one model version, which is started when the first answer is needed that is not cached."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import stamina

from model_store.engine.engine import Engine
from model_store.engine.errors import EngineError, EngineTimeout, EngineUnavailable
from model_store.errors import UserError
from model_store.pictures import FittedPictures
from model_store.progress import Report
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.serving.launch import VllmServer

TIMEOUT_S, CONNECT_TIMEOUT_S = 900.0, 10.0
"""Of one call. On a CPU, a call waits for those before it; nobody waits for an evaluation's."""
_PICTURE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class GeneralModel:
    """A model that is no version: the name under which a server serves it, and the prompts to ask it with."""

    name: str
    prompts: PromptSet


class ModelServer:
    """A version and where it is served: at `url`, or on this machine by a vLLM server of its own.

    Args:
        general: asks a general model at `url`, with the limits of `manifest`.
        api_key: the server's key.
    """

    def __init__(
        self,
        manifest: Manifest,
        registry: Registry,
        url: str | None,
        log: Path,
        report: Report,
        *,
        general: GeneralModel | None = None,
        api_key: str | None = None,
    ) -> None:
        self.manifest = manifest
        self.prompts = general.prompts if general else registry.prompts(manifest)
        self._served = general.name if general else manifest.id
        self._api_key = api_key
        self._registry = registry
        self._url = url
        self._log = log
        self._report = report
        self._pictures = FittedPictures(manifest.picture, _PICTURE_BYTES)
        self._starting = asyncio.Lock()
        self._prompts: dict[int, PromptSet] = {}
        self._engines: dict[int, Engine] = {}
        self._on_exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close connections, and stop the server if it was started here, whatever fails."""
        await self._on_exit.aclose()

    async def engine(self, recents: int | None = None) -> Engine:
        """The engine of the running server.

        Args:
            recents: how many of a user's last interactions prompts show; None for the version's own number.

        Raises:
            ChildFailed: the server that was started here did not come up.
            UserError: the server can't be reached, or does not serve this version.
        """
        async with self._starting:
            if self._url is None:
                self._url = await self._start()
            prompts = self.prompts_with(recents)
            if prompts.recents not in self._engines:
                self._engines[prompts.recents] = await self._open(self._url, prompts)
            return self._engines[prompts.recents]

    def prompts_with(self, recents: int | None) -> PromptSet:
        """The version's prompts, with another number of recents if it is given."""
        own = self.prompts
        if recents is None or recents == own.recents:
            return own
        if recents not in self._prompts:
            self._prompts[recents] = PromptSet(own.folder, signals=own.signals, words=own.words, recents=recents)
        return self._prompts[recents]

    async def _start(self) -> str:
        stage = f"starting {self.manifest.id}"
        server = VllmServer(self.manifest, self._registry.local_folder(self.manifest), self.prompts.folder, self._log)
        # Not only the last one: after a failure, another task may start the next before it is cancelled.
        self._on_exit.push_async_callback(server.stop)
        await server.start()
        await server.wait_healthy(lambda elapsed, phase: self._report(stage, 0.0, f"{phase} ... {elapsed:.0f} s"))
        self._report(stage, 1.0, "")
        return server.url

    async def _open(self, url: str, prompts: PromptSet) -> Engine:
        engine = Engine(
            url,
            self._served,
            prompts,
            self.manifest,
            mode="score" if self.manifest.serving.architecture else "chat",
            timeout_s=TIMEOUT_S,
            connect_timeout_s=CONNECT_TIMEOUT_S,
            api_key=self._api_key,
            pictures=self._pictures,
        )
        self._on_exit.push_async_callback(engine.close)
        try:
            async for attempt in stamina.retry_context(on=(EngineTimeout, EngineUnavailable), attempts=4):
                with attempt:
                    await engine.check()
        except EngineError as error:
            raise UserError(f"{self.manifest.id} can't be asked: {error}") from None
        return engine
