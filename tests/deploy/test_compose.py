"""The compose files: valid, nothing published but the gateway on the loopback address, vLLM and Redis closed off."""

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.api_keys.file import read_keys
from service.api_keys.records import SCOPES, digest_of
from service.settings import PREFIX
from tests.test_pages import is_setting

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = ("compose.yaml", "compose.gpu.yaml", "compose.observe.yaml")
OWN = ("${TASTESTREAM_IMAGE:-tastestream}", "${VLLM_CPU_IMAGE:-tastestream-demo}")
"""Images that are built here; all others are pinned by version."""
EMBEDDING = ("embedder", "embedder-encoder")


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load("compose.yaml")["services"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_file_follows_the_compose_specification(name: str) -> None:
    pytest.importorskip("check_jsonschema", reason="`make deploy-tools` installs check-jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / name)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_overrides_change_services_that_exist(services: dict[str, Any]) -> None:
    for name in FILES[1:]:
        assert load(name)["services"].keys() <= services.keys()


def test_only_the_gateway_is_published_and_only_to_this_machine(services: dict[str, Any]) -> None:
    published = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert published == {"gateway": ["127.0.0.1:${PORT:-8000}:8000"]}
    assert not any("network_mode" in one and one["network_mode"] != "none" for one in services.values())
    observed = [port for one in load("compose.observe.yaml")["services"].values() for port in one["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in observed)


def test_redis_and_vllm_are_on_networks_that_lead_nowhere(services: dict[str, Any]) -> None:
    networks = load("compose.yaml")["networks"]
    assert services["redis"]["networks"] == ["state"]
    assert all(services[name]["networks"] == ["models"] for name in ("ranker", "summarizer", *EMBEDDING))
    assert networks["state"]["internal"] is networks["models"]["internal"] is True
    members = {
        name: {service for service, one in services.items() if name in one.get("networks", ())}
        for name in ("state", "models")
    }
    assert members["state"] == {"redis", "gateway", "worker"}
    own = {"ranker", "summarizer", "encoder", *EMBEDDING}
    assert members["models"] == {*own, "gateway", "worker", "prometheus"}


def test_an_embedder_runs_on_request_only_and_is_asked_only_then(services: dict[str, Any]) -> None:
    assert services["embedder-flags"]["profiles"] == services["embedder"]["profiles"] == ["embedder"]
    assert services["embedder-encoder"]["profiles"] == ["embedder-encoder"]
    assert services["embedder-flags"]["command"][-1].removeprefix("--output=/data") == "/embedder.yaml"
    assert services["embedder"]["command"][1] == "/flags/embedder.yaml"
    given = services["worker"]["environment"]
    assert given[f"{PREFIX}EMBEDDER__URL"] == "${EMBEDDER_URL:-}"
    assert given[f"{PREFIX}EMBEDDER__VERSION"] == services["embedder-encoder"]["command"][1]
    assert services["embedder-flags"]["command"][2] == services["embedder-encoder"]["command"][1]
    scraped = yaml.safe_load((DEPLOY / "compose/prometheus.yml").read_text("utf-8"))["scrape_configs"]
    assert {f"tastestream-{name}" for name in EMBEDDING} <= {job["job_name"] for job in scraped}


def test_containers_can_do_nothing_but_their_work(services: dict[str, Any]) -> None:
    for name, one in services.items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in one, name


def test_images_are_built_here_or_pinned(services: dict[str, Any]) -> None:
    images = {one["image"] for one in services.values()} | {load("compose.gpu.yaml")["x-vllm"]["image"]}
    assert [image for image in images - set(OWN) if not re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+[a-z-]*", image)] == []


def test_secrets_come_from_files_and_are_in_no_environment(services: dict[str, Any]) -> None:
    secrets = load("compose.yaml")["secrets"]
    used = {name for one in services.values() for name in one.get("secrets", ())}
    assert used == secrets.keys()
    assert all(one["file"].startswith("./secrets/") for one in secrets.values())
    for one in services.values():
        for variable, value in one.get("environment", {}).items():
            assert not re.search("PASSWORD|KEY|SECRET|TOKEN|REDIS_URL", variable) or str(value).startswith(
                "/run/secrets/"
            )


def test_every_setting_that_is_given_exists(services: dict[str, Any]) -> None:
    given = {variable for one in services.values() for variable in one.get("environment", {})}
    ours = {variable.removeprefix(PREFIX) for variable in given if variable.startswith(PREFIX)} - {"CONFIG"}
    assert len(ours) > 4
    assert [name for name in ours if not is_setting(name.lower().split("__"))] == []


def test_what_is_mounted_from_the_repository_is_there(services: dict[str, Any]) -> None:
    mounts = [volume.split(":")[0] for one in services.values() for volume in one.get("volumes", ())]
    paths = {mount for mount in mounts if mount.startswith(".")}
    assert {"./prometheus/rules", "./grafana/dashboards"} <= paths
    assert [path for path in paths if not (DEPLOY / path).exists()] == []


def test_secrets_are_drawn_once_and_kept_from_other_users(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    first = subprocess.run([tmp_path / "secrets.sh"], capture_output=True, text=True, check=True)
    folder = tmp_path / "secrets"
    assert first.stdout.count("made") == 4
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    kept = {one.name: one.read_text() for one in folder.iterdir()}
    mounted = {one["file"] for one in load("compose.yaml")["secrets"].values()}
    assert {f"./secrets/{name}" for name in kept.keys() - {"api-key"}} == mounted
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in mounted} == {0o644}, "containers read them"
    assert stat.S_IMODE((folder / "api-key").stat().st_mode) == 0o600
    (key,) = read_keys(folder / "api-keys")
    assert key.digest == digest_of(kept["api-key"].strip())
    assert key.scopes == set(SCOPES)
    password = kept["redis.conf"].split()[1]
    assert len(password) == 32
    assert f"redis://:{password}@redis:6379/0" in kept["settings.toml"]

    subprocess.run([tmp_path / "secrets.sh"], capture_output=True, check=True)
    assert {one.name: one.read_text() for one in folder.iterdir()} == kept


def test_prometheus_accepts_its_configuration() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    config = DEPLOY / "compose" / "prometheus.yml"
    checked = subprocess.run([promtool, "check", "config", "--syntax-only", config], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
