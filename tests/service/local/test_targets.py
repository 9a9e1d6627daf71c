"""Prometheus is told what runs, for as long as it runs."""

import json
from pathlib import Path

import pytest

from service.local.targets import NAME, address, targets_written
from tests.deploy.prometheus import PROMETHEUS


def test_the_file_names_each_server_with_its_job_until_the_end(tmp_path: Path) -> None:
    with targets_written(tmp_path, {"gateway": "http://127.0.0.1:8000", "ranker": "http://[::1]:9000"}):
        groups = json.loads((tmp_path / NAME).read_text())
    assert not list(tmp_path.iterdir())
    assert [group["targets"] for group in groups] == [["127.0.0.1:8000"], ["[::1]:9000"]]
    assert groups[0]["labels"] == {
        "job": "tastestream-gateway",
        "__scheme__": "http",
        "__metrics_path__": "/metrics",
    }


def test_a_server_elsewhere_is_named_without_its_password(tmp_path: Path) -> None:
    with targets_written(tmp_path, {"ranker": "https://me:secret@models.example.com/ranker/"}):
        text = (tmp_path / NAME).read_text()
    (group,) = json.loads(text)
    assert group["targets"] == ["models.example.com:443"]
    assert group["labels"]["__scheme__"] == "https"
    assert group["labels"]["__metrics_path__"] == "/ranker/metrics"
    assert "secret" not in text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("tastestream.local", "http://tastestream.local:8000"),
    ],
)
def test_a_server_that_listens_everywhere_is_asked_on_this_machine(host: str, url: str) -> None:
    assert address(host, 8000) == url


def test_the_configuration_of_prometheus_reads_that_file() -> None:
    assert f"[../../.tastestream/{NAME}]" in (PROMETHEUS / "prometheus.yml").read_text()
