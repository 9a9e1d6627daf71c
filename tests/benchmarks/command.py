"""How a benchmark becomes a command."""

import logging
import signal
import sys
from collections.abc import Callable

import structlog
import typer
from rich.console import Console
from rich.markup import escape

from model_store.errors import UserError
from service.errors import TastestreamError
from service.heap import freeze_heap


def run(main: Callable[..., None]) -> None:
    """Run `main`, whose module's docstring is the help; an error that a user can mend ends in one sentence."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command(help=sys.modules["__main__"].__doc__)(main)
    # What runs in this process would write a line for each request, or each lost connection, between the tables.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    # Told to end, end what was started first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # The client is spared the pauses that gateway and workers are spared.
    freeze_heap()
    try:
        app()
    except (UserError, TastestreamError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
