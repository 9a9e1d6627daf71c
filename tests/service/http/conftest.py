"""A gateway with its own HTTP server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.app import server_config
from service.settings import Settings
from service.settings.limits import LimitSettings
from tests.service.http.raw import OpenServer, Server
from tests.service.serving import running


@pytest.fixture
def open_server(redis_url: str, tmp_path: Path) -> OpenServer:
    @asynccontextmanager
    async def opened(**limits: Any) -> AsyncIterator[Server]:
        settings = Settings(redis_url=redis_url, data_dir=tmp_path, port=0, limits=LimitSettings(**limits))
        async with running(server_config(settings)) as url:
            yield Server(url)

    return opened


@pytest.fixture
async def server(open_server: OpenServer) -> AsyncIterator[Server]:
    async with open_server() as server:
        yield server
