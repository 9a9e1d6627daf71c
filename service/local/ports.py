"""Check that a port is free before a slow process starts that listens on it."""

import socket

from model_store.errors import UserError


def require_free_port(host: str, port: int, other: str) -> None:
    """Return when `host`:`port` can be listened on.

    Args:
        other: the setting or option that chooses another port, for the error message.

    Raises:
        UserError: it is in use or can't be listened on.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            remedy = f"Stop what uses it, or choose another {other}."
            raise UserError(f"{host}:{port} can't be listened on ({error.strerror}). {remedy}") from None
