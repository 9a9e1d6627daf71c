"""`tastestream models serve`: one version on a vLLM server."""

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from typing import Annotated

import typer

from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.cli.model_store import Also, Reference, ids_of_shared, store_of
from service.cli.options import ModelStore
from service.cli.processes import require_free_port
from service.cli.terminal import out, say, settings_or_exit
from service.settings import Settings

_HOST = "127.0.0.1"


def serve(
    version: Reference,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.", min=1, max=65535)] = 8001,
    also: Also = None,
    store: ModelStore = None,
) -> None:
    """Serve one version with vLLM on this machine until Ctrl-C, and check that it scores as its probe does.

    On another machine, run `vllm serve --config` with the file that `models vllm-flags` writes.

    Example:

        tastestream models serve shop-ranker@4 --port 8002
    """
    require_free_port(_HOST, port, "--port")
    registry = store_of(version, store)
    manifest = registry.get(version)
    asyncio.run(_serve(settings_or_exit(), registry, manifest, port, ids_of_shared(registry, manifest, also)))


async def _serve(settings: Settings, registry: Registry, manifest: Manifest, port: int, also: list[str]) -> None:
    from service.local.vllm import LocalEngine
    from service.local.watch import unless_one_ends, watch_child

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    logs = settings.data_dir.resolve() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    engine = LocalEngine(manifest.role, manifest, registry, logs / f"{manifest.id}.log", port=port, also=also)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.server.stop)

        async def serving() -> None:
            await engine.start()
            await unless_one_ends([engine.server], engine.wait(out))
            say(f"{manifest.id} is served on {engine.server.url} (log: {engine.server.log}). Ctrl-C stops.")
            if manifest.role in ("ranker", "embedder"):
                promote = f"tastestream models promote {manifest.name} {manifest.version}"
                canary = "--alias canary --share 10% " if manifest.role == "ranker" else ""
                say(f"roll it out: {promote} {canary}--url {engine.server.url}")
            await watch_child(engine.server)

        running, stopping = asyncio.create_task(serving()), asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not running.done():
            running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    say("stopped")
