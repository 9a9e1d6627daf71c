"""A Prometheus server on the loopback address, with rules of ours, and what it answers."""

import math
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import pytest
import yaml

from model_store.serving.launch import free_port

START_S = 300.0
Vector = list[tuple[dict[str, str], float]]
Matrix = list[tuple[dict[str, str], list[tuple[float, float]]]]


def require_prometheus() -> None:
    """Skip the test where Prometheus is not installed."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed; it comes with Debian's package prometheus")


class Prometheus:
    """Scrapes `targets` (addresses by job) every `interval_s` seconds, and evaluates the rule files as often.

    Args:
        folder: for its configuration, its data and its log.
    """

    def __init__(
        self, folder: Path, targets: Mapping[str, Sequence[str]], rule_files: Sequence[Path], interval_s: float
    ) -> None:
        self._folder = folder
        self._config = {
            "global": {"scrape_interval": f"{interval_s:g}s", "evaluation_interval": f"{interval_s:g}s"},
            "rule_files": [str(file) for file in rule_files],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
                for job, addresses in targets.items()
            ],
        }

    def __enter__(self) -> "Prometheus":
        folder, address = self._folder, f"127.0.0.1:{free_port()}"
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config), "utf-8")
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address={address}"], stdout=log, stderr=subprocess.STDOUT
            )
        self._http = httpx.Client(base_url=f"http://{address}", timeout=30.0, trust_env=False)
        wait_for(self._ready, START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._process.kill()
        self._process.wait()

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
        try:
            return self._http.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def query(self, expr: str) -> Vector:
        """What the query returns now; without values that are no numbers."""
        result = self._get("query", query=expr)["result"]
        numbers = [(one["metric"], float(one["value"][1])) for one in result]
        return [(labels, value) for labels, value in numbers if not math.isnan(value)]

    def query_range(self, expr: str, start: float, end: float, step_s: float) -> Matrix:
        """What the query returned over time; times and `start`, `end` are seconds since the epoch."""
        result = self._get("query_range", query=expr, start=start, end=end, step=step_s)["result"]
        return [(one["metric"], [(at, float(value)) for at, value in one["values"]]) for one in result]

    def rules(self) -> list[dict[str, Any]]:
        """All rules with their state."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {one["labels"]["alertname"] for one in self._get("alerts")["alerts"] if one["state"] == "firing"}

    def _get(self, path: str, **parameters: Any) -> Any:
        answer = self._http.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]


def wait_for(condition: Callable[[], Any], within_s: float, otherwise: Callable[[], str] = str) -> None:
    """Return when the condition is true; fail with what `otherwise` says when it does not become so in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, otherwise() or "the condition was not met in time"
        time.sleep(0.2)
