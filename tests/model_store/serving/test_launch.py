"""The exact command lines, and servers that report their start, fail with reasons and leave no processes."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_store import precision
from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Labels, Manifest, PictureTokens
from model_store.serving import launch
from model_store.serving.launch import (
    HOST,
    Device,
    VllmServer,
    command,
    config_file,
    environment,
    flags,
    free_port,
    phase,
)
from model_store.serving.processes import ChildFailed

WEIGHTS = Path("/store/demo/1/weights")
PROMPTS = BUILT_IN / "compact"
SUMMARIZER = Manifest(name="demo-summarizer", version=3, role="summarizer")
RANKER = Manifest(
    name="demo-ranker",
    version=2,
    role="ranker",
    labels=Labels(yes_id=11, no_id=7),
    serving={"architecture": "Qwen3VLForSequenceClassification", "dtype": "float32", "max_model_len": 1024},
)
PICTURES = '{"image":1,"video":0}'
OVERRIDES = (
    '{"architectures":["Qwen3VLForSequenceClassification"],"classifier_from_token":["no","yes"],'
    '"is_original_qwen3_reranker":true}'
)
CPU = (
    "--enforce-eager --block-size 32 --kv-cache-memory-bytes 256M --mm-processor-cache-gb 0.25 "
    "--distributed-executor-backend uni --skip-mm-profiling"
)
GPU = "--gpu-memory-utilization 0.45"
SCORING = f"--runner pooling --convert classify --chat-template {PROMPTS / 'score.jinja'} --hf-overrides {OVERRIDES}"


GENERATING = '--structured-outputs-config {"backend":"xgrammar","disable_any_whitespace":true}'


def line(name: str, dtype: str, length: int, device: str, task: str) -> str:
    return " ".join(
        f"{sys.executable} -m model_store.serving.vllm_server --model {WEIGHTS} --served-model-name {name} "
        f"--dtype {dtype} --max-model-len {length} --max-num-queued-reqs 1500 --generation-config vllm "
        f"--enable-prefix-caching --enable-prompt-tokens-details --limit-mm-per-prompt {PICTURES} "
        f"--allowed-media-domains none.invalid "
        f"--uvicorn-log-level warning --disable-uvicorn-access-log --disable-fastapi-docs "
        f"{device} {task} --host 127.0.0.1 --port 8101".split()
    )


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("Qwen3VLForSequenceClassification", {"is_original_qwen3_reranker": True}),
        ("Qwen3ForSequenceClassification", {"is_original_qwen3_reranker": True}),
        ("LlamaForSequenceClassification", {"method": "from_2_way_softmax"}),
        ("Qwen2ForSequenceClassification", {"method": "from_2_way_softmax"}),
        ("Qwen2_5_VLForSequenceClassification", {"method": "from_2_way_softmax"}),
        ("Gemma3ForSequenceClassification", {"method": "from_2_way_softmax"}),
    ],
)
def test_each_architecture_gets_its_override_to_score_by_its_labels(architecture: str, head: dict[str, Any]) -> None:
    ranker = RANKER.model_copy(update={"serving": RANKER.serving.model_copy(update={"architecture": architecture})})
    given = command(ranker, WEIGHTS, PROMPTS, 1, "cpu")
    overrides = json.loads(given[given.index("--hf-overrides") + 1])
    assert overrides == {"architectures": [architecture], "classifier_from_token": ["no", "yes"], **head}


def test_soft_tokens_come_in_messages_of_the_weights_own_chat_template() -> None:
    tokens = PictureTokens(count=8, width=576)
    serving = RANKER.serving.model_copy(update={"architecture": "LlamaForSequenceClassification"})
    ranker = RANKER.model_copy(update={"serving": serving, "picture_tokens": tokens})
    given = " ".join(flags(ranker, WEIGHTS, PROMPTS, "cpu"))
    assert "--convert classify --enable-prompt-embeds --chat-template-content-format string --hf-overrides" in given
    assert "--chat-template " not in given
    assert "--enable-prompt-embeds" not in flags(RANKER, WEIGHTS, PROMPTS, "cpu")


@pytest.mark.parametrize(
    ("config", "shared"),
    [
        ('{"architectures":["BertModel"]}', False),
        ('{"architectures":["XLMRobertaForSequenceClassification"]}', False),
        ('{"architectures":["ModernBertModel"]}', False),
        ('{"architectures":["Qwen2Model"],"is_causal":false}', False),
        ('{"architectures":["LlamaForCausalLM"]}', True),
        ('{"architectures":["Qwen3VLForConditionalGeneration"],"is_causal":true}', True),
        ("{}", True),
        ("no JSON", True),
        (None, True),
    ],
)
def test_only_a_model_that_reads_from_left_to_right_shares_prefixes(
    config: str | None, shared: bool, tmp_path: Path
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    given = flags(SUMMARIZER, tmp_path, PROMPTS, "cpu")
    assert ("--enable-prefix-caching" in given, "--no-enable-prefix-caching" in given) == (shared, not shared)


@pytest.mark.parametrize("encoder", [False, True], ids=["decoder", "encoder"])
def test_a_config_file_is_equivalent_to_the_flags(encoder: bool, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures":["BertModel"]}' if encoder else "{}")
    given = flags(RANKER, tmp_path, PROMPTS, "gpu", ["demo-ranker@3"])
    config = json.loads(config_file(given))
    assert config["model"] == str(tmp_path)
    assert config["no-enable-prefix-caching" if encoder else "enable-prefix-caching"] is True
    assert config["served-model-name"] == ["demo-ranker@2", "demo-ranker@3"]
    values = {
        key: [] if value is True else value if isinstance(value, list) else [value] for key, value in config.items()
    }
    words = [word for key, given_values in values.items() for word in (f"--{key}", *given_values)]
    assert words == given


@pytest.mark.vllm
def test_vllm_reads_the_config_file_as_the_flags(tmp_path: Path) -> None:
    given = flags(RANKER, WEIGHTS, PROMPTS, "gpu", ["demo-ranker@3"])
    (tmp_path / "flags.yaml").write_text(config_file(given))
    program = (
        "import sys; from vllm.utils.argparse_utils import FlexibleArgumentParser as Parser; "
        "from vllm.entrypoints.launchers.cli_args import make_arg_parser; "
        "print(vars(make_arg_parser(Parser()).parse_args(sys.argv[1:])))"
    )
    read = [
        subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True).stdout
        for words in (given, ["--config", str(tmp_path / "flags.yaml")])
    ]
    assert "Qwen3VLForSequenceClassification" in read[0]
    assert read[0] == read[1]


class TestCommand:
    @pytest.mark.parametrize(
        ("manifest", "device", "expected"),
        [
            (SUMMARIZER, "cpu", line("demo-summarizer@3", "auto", 2048, CPU, GENERATING)),
            (SUMMARIZER, "gpu", line("demo-summarizer@3", "auto", 2048, GPU, GENERATING)),
            (RANKER, "cpu", line("demo-ranker@2", "float32", 1024, CPU, SCORING)),
            (RANKER, "gpu", line("demo-ranker@2", "float32", 1024, GPU, SCORING)),
        ],
        ids=["summarizer-cpu", "summarizer-gpu", "ranker-cpu", "ranker-gpu"],
    )
    def test_is_exactly(
        self, manifest: Manifest, device: Device, expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
        assert " ".join(command(manifest, WEIGHTS, PROMPTS, 8101, device)) == expected

    def test_a_ranker_without_a_scoring_architecture_generates(self) -> None:
        manifest = Manifest(name="general", version=1, role="ranker")
        assert "--runner" not in command(manifest, WEIGHTS, PROMPTS, 1, "gpu")

    def test_the_labels_of_the_version_become_the_classifier(self) -> None:
        labels = Labels(yes="Ja", no="Nein", yes_id=1, no_id=2)
        manifest = RANKER.model_copy(update={"labels": labels})
        assert '"classifier_from_token":["Nein","Ja"]' in command(manifest, WEIGHTS, PROMPTS, 1, "cpu")[-5]

    @pytest.mark.parametrize("device", ["cpu", "gpu"])
    def test_the_server_never_calls_out(self, device: Device) -> None:
        variables = environment(device)
        assert {"HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"} <= variables.keys()

    def test_without_a_gpu_a_server_takes_half_of_the_cpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for cpus, threads in ((1, "1"), (2, "1"), (16, "8")):
            monkeypatch.setattr(os, "sched_getaffinity", lambda _, cpus=cpus: set(range(cpus)))
            assert environment("cpu")["OMP_NUM_THREADS"] == threads


def test_the_phase_is_read_from_the_log() -> None:
    log = "(APIServer pid=1) INFO non-default args: {}\n"
    assert phase("") == "starting Python"
    assert phase(log) == "reading the model's configuration"
    assert phase(log + "Starting to load model /x...\n") == "loading the weights"


def test_a_port_that_something_uses_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as taken, socket.create_server((HOST, 0)) as other:
        free = other.getsockname()[1]
        other.close()
        drawn = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(random, "randrange", lambda *_: next(drawn))
        assert free_port() == free


def fake_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> VllmServer:
    """A server whose process runs `script` instead of vLLM; `PORT` is its port, `GO` the file it may wait for."""

    def scripted(
        manifest: Manifest, weights: Path, prompts: Path, port: int, device: Device, also: object = ()
    ) -> list[str]:
        return [sys.executable, "-c", f"PORT, GO = {port}, {str(tmp_path / 'go')!r}\n{script}"]

    monkeypatch.setattr(launch, "command", scripted)
    return VllmServer(SUMMARIZER, WEIGHTS, PROMPTS, tmp_path / "vllm.log")


LISTEN = """
import http.server, os, subprocess, sys, time
print("Starting to load model x", flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
while not os.path.exists(GO): time.sleep(0.01)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"""


class TestVllmServer:
    async def test_reports_its_phase_and_returns_when_healthy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = fake_server(tmp_path, monkeypatch, LISTEN)
        news: list[tuple[float, str]] = []

        def report(seconds: float, words: str) -> None:
            news.append((seconds, words))
            if words == "loading the weights":
                (tmp_path / "go").touch()

        await server.start()
        await server.wait_healthy(report, timeout_s=60)
        assert not server.ended()
        await server.stop()
        assert server.ended()
        assert [seconds for seconds, _ in news] == sorted(seconds for seconds, _ in news)
        assert news[-1][1] == "loading the weights"

    async def test_an_early_end_is_reported_with_the_logs_last_lines(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = fake_server(tmp_path, monkeypatch, "raise SystemExit('the weights are broken')")
        await server.start()
        with pytest.raises(ChildFailed, match=r"demo-summarizer@3 ended with status 1(?s:.*)the weights are broken"):
            await server.wait_healthy(timeout_s=60)
        await server.stop()

    async def test_a_server_that_never_answers_is_given_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = fake_server(tmp_path, monkeypatch, "import time; time.sleep(600)")
        await server.start()
        with pytest.raises(ChildFailed, match="not healthy after 1 s"):
            await server.wait_healthy(timeout_s=1)
        await server.stop()

    async def test_stopping_takes_the_engine_processes_along(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = fake_server(tmp_path, monkeypatch, LISTEN)
        (tmp_path / "go").touch()
        await server.start()
        await server.wait_healthy(timeout_s=60)
        engine = int(server.log.read_text().split("child ")[1].split()[0])
        await server.stop()
        await until(lambda: not alive(engine))

    async def test_a_server_deaf_to_sigterm_is_killed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
        server = fake_server(tmp_path, monkeypatch, f"{deaf}; time.sleep(600)")
        await server.start()
        await until(lambda: "deaf" in server.log.read_text())
        await server.stop(grace_s=0.2)
        assert server.ended()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
@pytest.mark.parametrize("method", ["fork", "spawn"])
async def test_an_engine_process_dies_with_its_killed_server(method: str, tmp_path: Path) -> None:
    """Played by a package named vllm that does nothing but start an engine process."""
    package = tmp_path / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    (package / "api_server.py").write_text(
        "import multiprocessing, sys, engine\n"
        "process = multiprocessing.get_context(sys.argv[1]).Process(target=engine.run)\n"
        "process.start()\n"
        "process.join()\n"
    )
    (tmp_path / "engine.py").write_text(
        "import os, time\ndef run():\n    print(os.getpid(), flush=True)\n    time.sleep(600)\n"
    )
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "model_store.serving.vllm_server", method),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert server.stdout is not None
    try:
        engine = int(await server.stdout.readline())
    finally:
        server.kill()
    try:
        await until(lambda: not alive(engine))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine, signal.SIGKILL)
        # To the end of its output: the pipe would stay open.
        await server.communicate()


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def until(condition: Callable[[], bool], timeout_s: float = 300.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)
