"""`make observe` watches the service of a data folder with our rules."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx

from model_store.serving.launch import free_port
from service.local.targets import targets_written
from tests.deploy.prometheus import ROOT, rules
from tests.observe.prometheus import START_S, require_prometheus, wait_for


def test_prometheus_finds_what_runs_on_the_data_folder_and_has_all_rules(tmp_path: Path) -> None:
    require_prometheus()
    folder, port = tmp_path / "a folder", free_port()
    folder.mkdir()
    environment = os.environ | {"TASTESTREAM_DATA_DIR": str(folder), "PROMETHEUS_PORT": str(port)}
    command = ["make", "--no-print-directory", "observe"]

    def found(path: str) -> Any:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/{path}", trust_env=False)
        except httpx.TransportError:
            return None
        return answer.json()["data"] if answer.is_success else None

    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, process_group=0)
    try:
        wait_for(lambda: found("rules"), START_S)
        assert {rule["name"] for group in found("rules")["groups"] for rule in group["rules"]} == {
            rule.get("alert") or rule["record"] for kind in ("alert", "record") for rule in rules(kind)
        }
        with targets_written(folder, {"gateway": "http://127.0.0.1:9"}):
            wait_for(lambda: found("targets")["activeTargets"], START_S)
            (target,) = found("targets")["activeTargets"]
        assert target["labels"] == {"instance": "127.0.0.1:9", "job": "tastestream-gateway"}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        output, _ = process.communicate()
    assert f"http://127.0.0.1:{port}/alerts" in output
