"""A gateway under way writes no API key anywhere: not into answers, logs, metrics or its pages."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from model_store.serving.launch import free_port
from service.api_keys.file import add_key
from service.api_keys.records import ApiKey, Scope, digest_of, new_key
from tests.redis_servers import until

CALLER, ADMIN, UNKNOWN = new_key(), new_key(), new_key()
PASSWORD = "a-password-of-redis"  # pragma: allowlist secret
PATHS = ("/events", "/users/u", "/recommend", "/items/i", "/items", "/openapi.json", "/docs", "/nothing", "/metrics")
METHODS = ("GET", "POST", "DELETE")
AUTHORIZATIONS = (
    f"Bearer {CALLER}",
    f"bearer {ADMIN}",
    f"Bearer {UNKNOWN}",
    f"Basic {CALLER}",
    CALLER,
    f"Bearer {CALLER}x",
)


@pytest.mark.parametrize("log_json", ["true", "false"])
def test_no_key_and_no_password_is_written_anywhere(tmp_path: Path, log_json: str) -> None:
    keys, log, port = tmp_path / "keys", tmp_path / "log", free_port()
    scopes: tuple[tuple[str, Scope], ...] = ((CALLER, "events"), (ADMIN, "admin"))
    for secret, scope in scopes:
        add_key(keys, ApiKey(digest_of(secret), scope, "default", frozenset([scope])))
    # Nothing listens there: every use of Redis fails, with an error in the log.
    redis_url = f"redis://:{PASSWORD}@127.0.0.1:{free_port()}"
    given = {"REDIS_URL": redis_url, "PORT": port, "API_KEYS_FILE": keys, "LOG_JSON": log_json, "LOG_REQUESTS": "all"}
    outside = {name: value for name, value in os.environ.items() if not name.startswith("TASTESTREAM_")}
    environment = {**outside, **{f"TASTESTREAM_{name}": str(value) for name, value in given.items()}}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "service.cli.main", "gateway"]
        gateway = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            until(lambda: gateway.poll() is not None or _answers(client), "the gateway does not start")
            seen = [_shown(client, path, method, key) for path in PATHS for method in METHODS for key in AUTHORIZATIONS]
    finally:
        gateway.terminate()
        gateway.wait(300)
    seen.append(log.read_text())
    assert seen[-1].count("state_unavailable") >= 2
    for secret in (CALLER, ADMIN, UNKNOWN, PASSWORD):
        assert not [text for text in seen if secret in text]


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


def _shown(client: httpx.Client, path: str, method: str, authorization: str) -> str:
    """All of an answer."""
    answer = client.request(method, path, headers={"Authorization": authorization}, json={"user_id": "u"})
    return f"{answer.headers}{answer.text}"
