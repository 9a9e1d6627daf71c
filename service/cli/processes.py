"""`tastestream up`, `gateway` and `worker`: the processes of the service."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from model_store.errors import UserError
from service.cli.options import ModelStore
from service.cli.terminal import err, out, settings_or_exit
from service.settings import PREFIX, Settings

Insecure = Annotated[
    bool, typer.Option("--insecure", help="Serve without API keys on an address that other machines can reach.")
]


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Load the demo catalogue and simulate two users.")] = False,
    models: Annotated[
        str,
        typer.Option(
            help="Serve NAME-summarizer, NAME-ranker and, if there is one, NAME-embedder of the model store; `demo` is "
            "built in."
        ),
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
    `TASTESTREAM_SUMMARIZER__URL`, `TASTESTREAM_RANKER__URL` and `TASTESTREAM_EMBEDDER__URL` that is not set. With API
    keys, the demo sends the one in `TASTESTREAM_API_KEY`.

    Example:

        tastestream up --demo
    """
    from service.local.up import run_up

    settings = settings_or_exit()
    changes = {"data_dir": data_dir, "port": port, "model_store": store, "insecure": insecure or None}
    settings = settings.model_copy(update={key: value for key, value in changes.items() if value is not None})
    require_free_port(settings.host, settings.port, "--port")
    asyncio.run(run_up(settings, models=models, demo=demo, console=out))


def gateway(
    processes: Annotated[
        int | None,
        typer.Option(
            help="How many processes serve the port. Each has all limits for itself.",
            show_default="TASTESTREAM_PROCESSES or 1",
            min=1,
            max=64,
        ),
    ] = None,
    insecure: Insecure = False,
) -> None:
    """Run one gateway, which serves the HTTP API. Starts nothing else.

    Needs `TASTESTREAM_REDIS_URL`, and `TASTESTREAM_RANKER__URL` to rank with a model. Requests need a key from
    `TASTESTREAM_API_KEYS_FILE`. Without that file, only this machine is served unless `--insecure` is given.

    Example:

        TASTESTREAM_REDIS_URL=redis://localhost:6379 tastestream gateway
    """
    settings = settings_or_exit()
    if insecure:
        settings = settings.model_copy(update={"insecure": True})
    require_free_port(settings.host, settings.port, f"{PREFIX}PORT")
    number = processes or settings.processes
    if number > 1:
        _run_several(number, settings)
        return
    from service.app import run_gateway

    run_gateway(settings)


def gateway_process(number: int, alive: int, folder: Path, parent: int, port: int, insecure: bool) -> None:
    """One of several processes of a gateway.

    `alive` is the file descriptor for signs of life to the process `parent`, `folder` that of the series.
    """
    from service.app import OneOfSeveral, run_gateway
    from service.metrics.shared import Shared
    from service.supervisor import bound

    def give_sign_of_life() -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(alive, b".")

    settings = settings_or_exit()
    settings = settings.model_copy(update={"port": port, "insecure": insecure or settings.insecure})
    # uvicorn repeats the signal after it has drained, which would end the process here and now.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        # Without its parent it would get no signal when that ends.
        if os.getppid() == parent:
            run_gateway(settings, OneOfSeveral(bound(settings.host, port), Shared(folder, number), give_sign_of_life))
    finally:
        if os.getppid() != parent:
            shutil.rmtree(folder, ignore_errors=True)


def _run_several(number: int, settings: Settings) -> None:
    """Run `number` processes until SIGINT or SIGTERM. If they can't be started, exit with the status of one of them."""
    from service import logs
    from service.supervisor import ProcessFailed, Supervisor, bound

    logs.configure(json=settings.log_json)
    sockets = bound(settings.host, settings.port)
    port = sockets[0].getsockname()[1]

    def command(number: int, alive: int, folder: Path) -> Sequence[str]:
        values = (number, alive, folder, os.getpid(), port, settings.insecure)
        return [sys.executable, "-m", "service.cli.main", "gateway-process", *map(str, values)]

    try:
        asyncio.run(Supervisor(number, command).run())
    except ProcessFailed as failed:
        err.print(f"[red]error:[/] {escape(str(failed))}", soft_wrap=True)
        raise typer.Exit(failed.status if failed.status > 0 else 1) from None


def worker() -> None:
    """Run one background worker, which folds events into summaries and describes pictures. Starts nothing else.

    Needs `TASTESTREAM_REDIS_URL` and `TASTESTREAM_SUMMARIZER__URL`.

    Example:

        TASTESTREAM_REDIS_URL=redis://localhost:6379 tastestream worker
    """
    from workers.run import run_worker

    settings = settings_or_exit()
    if settings.worker.metrics_port is not None:
        require_free_port(settings.worker.metrics_host, settings.worker.metrics_port, f"{PREFIX}WORKER__METRICS_PORT")
    run_worker(settings)


def require_free_port(host: str, port: int, setting: str) -> None:
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
