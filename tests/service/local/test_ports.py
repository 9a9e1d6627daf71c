"""A port in use is reported with how to choose another."""

import socket

import pytest

from model_store.errors import UserError
from service.local.ports import require_free_port


def test_a_port_in_use_is_refused_and_a_free_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port} can't be listened on .* choose another --port"):
            require_free_port("127.0.0.1", port, "--port")
    require_free_port("127.0.0.1", port, "--port")
