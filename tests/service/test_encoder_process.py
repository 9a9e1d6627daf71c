"""`tastestream encoder`: the process that a user starts, with a tiny picture encoder."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import torch

from model_store.registry.manifest import PictureTokens
from model_store.serving.launch import free_port
from model_store.soft_tokens import check_soft_tokens
from tests.service.picture_encoder import SHAPE, add_text_ranker, tiny_encoder
from tests.service.pictures.pictures import picture


def command(folder: Path, version: str, port: int) -> list[str]:
    words = ["encoder", version, "--store", str(folder / "models"), "--port", str(port)]
    return [sys.executable, "-m", "service.cli.main", *words]


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    http: httpx.Client


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, port = tmp_path_factory.mktemp("encoder"), free_port()
    add_text_ranker(folder, folder / "models")
    outside = {name: value for name, value in os.environ.items() if not name.startswith("TASTESTREAM_")}
    process = subprocess.Popen(command(folder, "text@1", port), env=outside)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
            deadline = time.monotonic() + 300
            while not _answers(http):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield Running(process, http)
    finally:
        process.kill()
        process.wait()


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/healthz").is_success
    except httpx.TransportError:
        return False


def test_the_answer_is_what_torch_saves_of_the_encoders_tokens(running: Running) -> None:
    content = picture(size=(40, 30), colour="red")
    answer = running.http.post("/encode", content=content)
    assert answer.status_code == 200, answer.text
    check_soft_tokens(answer.content, SHAPE)
    tokens = torch.load(io.BytesIO(answer.content), weights_only=True)
    (expected,) = tiny_encoder().encode([content])
    assert torch.allclose(tokens, expected, atol=1e-5)


def test_what_is_no_picture_is_refused(running: Running) -> None:
    assert running.http.post("/encode", content=b"no picture").status_code == 422
    assert running.http.post("/encode", content=b"").status_code == 422
    assert running.http.post("/encode", params={"encoder": "other"}, content=b"").status_code == 409


@pytest.mark.parametrize(
    ("shape", "message"),
    [(None, "it needs no encoder"), (PictureTokens(count=2, width=9), "the encoder of text@1 is another model's")],
)
def test_a_version_that_it_can_not_encode_for_is_refused_in_one_sentence(
    shape: PictureTokens | None, message: str, tmp_path: Path
) -> None:
    add_text_ranker(tmp_path, tmp_path / "models", shape)
    ended = subprocess.run(command(tmp_path, "text@1", free_port()), capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_it_ends_by_sigterm(running: Running) -> None:
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(300) in (0, -signal.SIGTERM)
