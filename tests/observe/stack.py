"""Everything of Tastestream in real processes: Redis, two gateways, a worker, and a host of pictures."""

import contextlib
import http.server
import random
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_store.demo import MODELS
from model_store.demo.drawing import draw
from model_store.registry.manifest import Blend
from model_store.registry.registry import Registry
from model_store.serving.launch import free_port
from tests.faults.processes import GatewayProcess, ServiceProcess
from tests.redis_servers import RedisServer
from tests.service.picture_encoder import add_text_ranker
from tests.service.pictures.pictures import saved

_REDIS_MEMORY = "512mb"
RANKER, SHADOW = "demo-ranker@1", "demo-ranker@2"
"""The ranker must be served under both names: the shadow has the same weights and another blend."""


@dataclass(frozen=True)
class Stack:
    """What runs. `chat` is a gateway that asks the summarizer for scores, as `ranker.mode` chat does."""

    redis: RedisServer
    gateway: GatewayProcess
    chat: GatewayProcess
    worker: ServiceProcess
    encoder: ServiceProcess
    targets: Mapping[str, list[str]]
    picture_url: str
    encoder_url: str

    @property
    def gateways(self) -> list[str]:
        return [self.gateway.url, self.chat.url]


@contextlib.contextmanager
def running_stack(
    folder: Path, *, ranker_url: str, summarizer_url: str, settings: Mapping[str, str]
) -> Iterator[Stack]:
    """Start all of it with vLLM servers of the demo's models, and end it.

    Args:
        folder: for the data and the logs.
        settings: further environment variables of gateways and worker, without their prefix.
    """
    redis_folder = folder / "redis"
    redis_folder.mkdir()
    redis, worker_port, encoder_port = RedisServer(redis_folder), free_port(), free_port()
    store = _store_with_a_shadow(folder / "models")
    environment = {
        "REDIS_URL": redis.url,
        "DATA_DIR": str(folder),
        "MODEL_STORE": str(store),
        "SUMMARIZER__URL": summarizer_url,
        "SUMMARIZER__VERSION": "demo-summarizer@1",
        "WORKER__METRICS_PORT": str(worker_port),
        "PICTURES__ALLOW_PRIVATE_ADDRESSES": "true",
        **settings,
    }
    scores = environment | {"RANKER__URL": ranker_url, "RANKER__VERSION": "demo-ranker@production"}
    chats = environment | {
        "RANKER__URL": summarizer_url,
        "RANKER__MODEL": "demo-summarizer@1",
        "RANKER__MODE": "chat",
    }
    gateway = GatewayProcess(free_port(), _prefixed(scores), folder / "gateway.log")
    chat = GatewayProcess(free_port(), _prefixed(chats), folder / "chat.log")
    worker = ServiceProcess("worker", _prefixed(scores), folder / "worker.log")
    encoder_url = f"http://127.0.0.1:{encoder_port}"
    reference = add_text_ranker(folder / "text", store)
    encodes = environment | {"ENCODER__PORT": str(encoder_port)}
    encoder = ServiceProcess("encoder", _prefixed(encodes), folder / "encoder.log", arguments=[reference])
    targets = {
        "tastestream-gateway": [gateway.url, chat.url],
        "tastestream-encoder": [encoder_url],
        "tastestream-worker": [f"http://127.0.0.1:{worker_port}"],
        "tastestream-ranker": [ranker_url],
        "tastestream-summarizer": [summarizer_url],
    }
    addresses = {job: [url.removeprefix("http://") for url in urls] for job, urls in targets.items()}
    try:
        redis.start("--maxmemory", _REDIS_MEMORY)
        for process in (gateway, chat, worker, encoder):
            process.start()
        with _picture_host() as picture_url:
            yield Stack(redis, gateway, chat, worker, encoder, addresses, picture_url, encoder_url)
    finally:
        for process in (gateway, chat, worker, encoder):
            process.kill()
        redis.kill()


def _store_with_a_shadow(folder: Path) -> Path:
    """The demo's models, of which the ranker is in production, and again a shadow of it."""
    shutil.copytree(MODELS, folder)
    registry = Registry(folder)
    prompts = registry.prompts(manifest := registry.get(RANKER)).folder
    name, weights = manifest.name, manifest.weights or f"{manifest.name}/{manifest.version}/weights"
    registry.add(manifest.model_copy(update={"version": 2, "weights": weights, "blend": Blend(mllm=0.5)}), prompts)
    registry.promote(name, 1)
    registry.promote(name, 2, "shadow")
    return folder


def _prefixed(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"TASTESTREAM_{name}": value for name, value in settings.items()}


@contextlib.contextmanager
def _picture_host() -> Iterator[str]:
    """A host that has one picture under every name."""
    body = saved(draw("red", "circle", 64, random.Random(1)))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "image/png")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/picture.png"
        finally:
            server.shutdown()
            thread.join()
