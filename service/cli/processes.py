"""`tastestream up`, `gateway` and `worker`: the processes of the service."""

import asyncio
import socket
from pathlib import Path
from typing import Annotated

import typer

from model_store.errors import UserError
from service.cli.options import ModelStore
from service.cli.terminal import out, settings_or_exit
from service.settings import PREFIX

Insecure = Annotated[
    bool, typer.Option("--insecure", help="Serve without API keys on an address that other machines can reach.")
]


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Load the demo catalogue and simulate two users.")] = False,
    models: Annotated[
        str, typer.Option(help="Serve NAME-summarizer and NAME-ranker of the model store; `demo` is built in.")
    ] = "demo",
    store: ModelStore = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="The folder for state, pictures and logs.", show_default="TASTESTREAM_DATA_DIR or .tastestream"
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The gateway's port.", show_default="TASTESTREAM_PORT or 8000")
    ] = None,
    insecure: Insecure = False,
) -> None:
    """Start everything on this machine and serve until Ctrl-C.

    Redis is embedded unless `TASTESTREAM_REDIS_URL` is set. A vLLM server is started for each of
    `TASTESTREAM_SUMMARIZER__URL` and `TASTESTREAM_RANKER__URL` that is not set. With API keys, the demo sends the one
    in `TASTESTREAM_API_KEY`.

    Example:

        tastestream up --demo
    """
    from service.local.up import run_up

    settings = settings_or_exit()
    changes = {"data_dir": data_dir, "port": port, "model_store": store, "insecure": insecure or None}
    settings = settings.model_copy(update={key: value for key, value in changes.items() if value is not None})
    _require_free_port(settings.host, settings.port, "--port")
    asyncio.run(run_up(settings, models=models, demo=demo, console=out))


def gateway(insecure: Insecure = False) -> None:
    """Run one gateway, which serves the HTTP API. Starts nothing else.

    Needs `TASTESTREAM_REDIS_URL`, and `TASTESTREAM_RANKER__URL` to rank with a model. Requests need a key from
    `TASTESTREAM_API_KEYS_FILE`. Without that file, only this machine is served unless `--insecure` is given.

    Example:

        TASTESTREAM_REDIS_URL=redis://localhost:6379 tastestream gateway
    """
    from service.app import run_gateway

    settings = settings_or_exit()
    if insecure:
        settings = settings.model_copy(update={"insecure": True})
    _require_free_port(settings.host, settings.port, f"{PREFIX}PORT")
    run_gateway(settings)


def worker() -> None:
    """Run one background worker, which folds events into summaries and describes pictures. Starts nothing else.

    Needs `TASTESTREAM_REDIS_URL` and `TASTESTREAM_SUMMARIZER__URL`.

    Example:

        TASTESTREAM_REDIS_URL=redis://localhost:6379 tastestream worker
    """
    from workers.run import run_worker

    settings = settings_or_exit()
    if settings.worker.metrics_port is not None:
        _require_free_port(settings.worker.metrics_host, settings.worker.metrics_port, f"{PREFIX}WORKER__METRICS_PORT")
    run_worker(settings)


def _require_free_port(host: str, port: int, setting: str) -> None:
    """Fail before a slow start if nothing can listen on `host`:`port`; `setting` chooses another port.

    Raises:
        UserError: the port is in use or can't be listened on.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            remedy = f"Stop what uses it, or choose another {setting}."
            raise UserError(f"{host}:{port} can't be listened on ({error.strerror}). {remedy}") from None
