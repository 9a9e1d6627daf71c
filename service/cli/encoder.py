"""`tastestream encoder`: the process that turns pictures into soft tokens."""

from typing import Annotated

import typer

from model_store.registry.manifest import ManifestError
from service.cli.model_store import Reference, store_of
from service.cli.options import ModelStore
from service.cli.processes import require_free_port
from service.cli.terminal import settings_or_exit
from service.settings import PREFIX


def encoder(
    version: Reference,
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on.", show_default="TASTESTREAM_ENCODER__HOST or 127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port to listen on.", show_default="TASTESTREAM_ENCODER__PORT or 8003")
    ] = None,
    store: ModelStore = None,
) -> None:
    """Run the picture encoder of a model version whose pictures are soft tokens. Workers ask it; needs torch.

    Set `TASTESTREAM_RANKER__ENCODER_URL` to its address in gateways and workers. It asks for no key: keep it, like
    model servers, in a private network.

    Example:

        tastestream encoder shop-ranker@4 --port 8003
    """
    settings = settings_or_exit()
    changes = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    given = settings.encoder.model_copy(update=changes)
    require_free_port(given.host, given.port, f"--port or {PREFIX}ENCODER__PORT")
    registry = store_of(version, store)
    manifest = registry.get(version)
    if manifest.picture_tokens is None:
        raise ManifestError(f"{manifest.id} sees pictures itself, or none at all: it needs no encoder")
    from service.encoder.run import run_encoder

    run_encoder(settings.model_copy(update={"encoder": given}), registry, manifest)
