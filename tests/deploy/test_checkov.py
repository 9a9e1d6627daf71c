"""checkov on the rendered chart and the Dockerfiles, less what deploy/checkov.yaml skips with a reason."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rendered import ROOT, render, values

CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
CASES = {"demo": ("demo",), "cluster": ("cluster", "autoscaled")}
needs_checkov = pytest.mark.skipif(not CHECKOV.exists(), reason="`make checkov` installs it into .venv-checkov")


def failed(folder: Path) -> list[tuple[str, str]]:
    """Check and resource of every finding in `folder`."""
    command = [CHECKOV, "--config-file", ROOT / "deploy/checkov.yaml", "--skip-download", "-o", "json", "-d", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    reports: Any = json.loads(done.stdout)
    reports = reports if isinstance(reports, list) else [reports]
    assert sum(report["summary"]["passed"] for report in reports) > 100, done.stdout
    return [(one["check_id"], one["resource"]) for report in reports for one in report["results"]["failed_checks"]]


@needs_checkov
def test_the_chart_and_the_images_follow_its_rules(tmp_path: Path) -> None:
    for case, names in CASES.items():
        objects = render(values(*names)).objects
        (tmp_path / f"{case}.yaml").write_text(yaml.safe_dump_all(objects), "utf-8")
    for name in ("Dockerfile", "Dockerfile.demo"):
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    assert failed(tmp_path) == []


@needs_checkov
def test_it_finds_a_privileged_container(tmp_path: Path) -> None:
    objects = render(values("demo")).objects
    gateway = next(one for one in objects if one["kind"] == "Deployment")
    gateway["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump_all(objects), "utf-8")
    assert "CKV_K8S_16" in {check for check, _ in failed(tmp_path)}
