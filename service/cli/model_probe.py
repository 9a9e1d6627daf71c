"""`tastestream models probe`: a version with the weights of another, and a score that its servers must repeat."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from model_store.errors import UserError
from model_store.progress import Report, stages
from model_store.registry.manifest import Manifest, Probe
from model_store.registry.register import register_probe
from model_store.registry.registry import Registry
from service.cli.audit import audited
from service.cli.model_store import Reference, own_store
from service.cli.options import ModelStore
from service.cli.terminal import say, settings_or_exit


def probe(
    version: Reference,
    url: Annotated[
        str | None,
        typer.Option(help="A server of the version, whose scores are taken as right.", show_default="one is started"),
    ] = None,
    store: ModelStore = None,
) -> None:
    """Register the next version of a ranker without a probe: the same with one, a score that its servers must repeat.

    Asks the version for the scores of a few fixed pairs of a user and an item, and records the most extreme. Without
    --url, vLLM serves it on this machine meanwhile, from the files in the store, whose hashes are checked.

    Example:

        tastestream models probe mine-ranker@1
    """
    settings = settings_or_exit()
    registry = own_store(store)
    manifest = registry.get(version)
    if manifest.role != "ranker":
        raise UserError(f"{manifest.id} is {manifest.role_with_article}: only rankers have probes")
    if manifest.probe is not None:
        raise UserError(f"{manifest.id} has a probe")
    key = settings.ranker.api_key if url else None
    with audited("model.probe", model=manifest.id, store=registry.root) as fields:
        with stages() as report:
            found = asyncio.run(_ask(manifest, registry, url, key.get_secret_value() if key else None, report))
        added = register_probe(registry, manifest, found)
        fields["version"] = added.id
    say(f"registered {added.id}, which shares the weights of {manifest.id}")
    say(f"its servers must score {found.score:.4f} for {found.title!r} and {found.summary!r}")
    say(f"next: tastestream models serve {added.id}")


async def _ask(manifest: Manifest, registry: Registry, url: str | None, key: str | None, report: Report) -> Probe:
    from model_store.blend import logit
    from model_store.engine.errors import EngineError
    from model_store.engine.probe import TOLERANCE, ask_probe
    from model_store.evaluate.server import ModelServer

    with TemporaryDirectory(prefix="tastestream-probe-") as logs:
        async with ModelServer(manifest, registry, url, Path(logs) / "vllm.log", report, api_key=key) as server:
            engine = await server.engine()
            try:
                found = await ask_probe(engine.score)
            except EngineError as error:
                raise UserError(f"{manifest.id} can't be asked: {error}") from None
    if abs(logit(found.score)) <= 2 * TOLERANCE:
        raise UserError(
            f"{manifest.id} scores all pairs close to 0.5, at most {found.score:.4f}: a probe of it would reveal no "
            "other head. Compare its server as docs/models.md describes"
        )
    return found
