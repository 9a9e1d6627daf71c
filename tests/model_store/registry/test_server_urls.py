"""The model store may name only the servers that the settings allow."""

import pytest

from model_store.registry.server_urls import is_allowed

PATTERNS = ("http://10.0.0.7:8000", "http://127.0.0.1", "https://*.models.svc")


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.7:8000",
        "http://10.0.0.7:8000/",
        "http://127.0.0.1:8002",
        "http://127.0.0.1",
        "https://a.models.svc",
    ],
)
def test_covered(url: str) -> None:
    assert is_allowed(url, PATTERNS)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.7:8001",
        "https://10.0.0.7:8000",
        "http://10.0.0.70:8000",
        "http://127.0.0.1.evil.com",
        "http://127.0.0.1@evil.com",
        "http://127.0.0.1/path",
        "http://127.0.0.1?x",
        "https://models.svc",
        "https://evilmodels.svc",
        "https://a.models.svc.evil.com",
        "http://[::1",
        "http://127.0.0.1:99999999",
        "file:///etc/passwd",
        "",
    ],
)
def test_not_covered(url: str) -> None:
    assert not is_allowed(url, PATTERNS)
    assert not is_allowed(url, ())
