"""Addresses to listen on, looked at before what listens on them has started."""

import socket

from model_store.errors import UserError


def require_free_port(host: str, port: int, other: str) -> None:
    """Return when `host`:`port` can be listened on.

    Args:
        other: how another port is chosen, for whoever reads the error.

    Raises:
        UserError: it can't.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            remedy = f"Stop what uses it, or choose another {other}."
            raise UserError(f"{host}:{port} can't be listened on ({error.strerror}). {remedy}") from None
