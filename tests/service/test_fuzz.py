"""Generated calls are answered as the OpenAPI page says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service.app import create_app
from service.settings import Settings
from tests.conftest import RedisServer
from tests.service.http.test_openapi import WIRE_TABLE

CALLS = 40
"""Per operation; the whole takes about half a minute."""

OPERATIONS = [(path, method) for path, methods in WIRE_TABLE.items() for method in sorted(methods)]
FAST = settings(
    max_examples=CALLS,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[tuple[Any, Any]]:
    """The page as schemathesis loads it, and a client of the application."""
    redis_server.flush()
    folder: Path = tmp_path_factory.mktemp("data")
    app = create_app(Settings(redis_url=redis_server.url, data_dir=folder))
    with asgi.get_client(app) as client:
        yield schemathesis.openapi.from_asgi("/openapi.json", app), client


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_call_is_answered_as_the_page_says(api: tuple[Any, Any], path: str, method: str) -> None:
    schema, client = api
    operation = schema[path][method]
    modes = [operation.as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]

    @FAST
    @given(st.one_of(modes))
    def call(case: schemathesis.Case) -> None:
        # Not everything that the page allows is accepted, for example a time in the future or an invented cursor.
        case.call_and_validate(session=client, timeout=60, excluded_checks=[positive_data_acceptance])

    call()
