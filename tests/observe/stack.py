"""Everything of Tastestream in real processes: Redis, two gateways, a worker, and a host of pictures."""

import contextlib
import http.server
import random
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_store.demo import MODELS
from model_store.demo.drawing import draw
from model_store.serving.launch import free_port
from tests.faults.processes import GatewayProcess, ServiceProcess
from tests.redis_servers import RedisServer
from tests.service.pictures.pictures import saved

_REDIS_MEMORY = "512mb"


@dataclass(frozen=True)
class Stack:
    """What runs. `chat` is a gateway that asks the summarizer for scores, as `ranker.mode` chat does."""

    redis: RedisServer
    gateway: GatewayProcess
    chat: GatewayProcess
    worker: ServiceProcess
    targets: Mapping[str, list[str]]
    picture_url: str

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
    redis, worker_port = RedisServer(redis_folder), free_port()
    environment = {
        "REDIS_URL": redis.url,
        "DATA_DIR": str(folder),
        "MODEL_STORE": str(MODELS),
        "SUMMARIZER__URL": summarizer_url,
        "SUMMARIZER__VERSION": "demo-summarizer@1",
        "WORKER__METRICS_PORT": str(worker_port),
        "PICTURES__ALLOW_PRIVATE_ADDRESSES": "true",
        **settings,
    }
    scores = environment | {"RANKER__URL": ranker_url, "RANKER__VERSION": "demo-ranker@1"}
    chats = environment | {
        "RANKER__URL": summarizer_url,
        "RANKER__MODEL": "demo-summarizer@1",
        "RANKER__MODE": "chat",
    }
    gateway = GatewayProcess(free_port(), _prefixed(scores), folder / "gateway.log")
    chat = GatewayProcess(free_port(), _prefixed(chats), folder / "chat.log")
    worker = ServiceProcess("worker", _prefixed(scores), folder / "worker.log")
    targets = {
        "tastestream-gateway": [gateway.url, chat.url],
        "tastestream-worker": [f"http://127.0.0.1:{worker_port}"],
        "tastestream-ranker": [ranker_url],
        "tastestream-summarizer": [summarizer_url],
    }
    addresses = {job: [url.removeprefix("http://") for url in urls] for job, urls in targets.items()}
    try:
        redis.start("--maxmemory", _REDIS_MEMORY)
        for process in (gateway, chat, worker):
            process.start()
        with _picture_host() as picture_url:
            yield Stack(redis, gateway, chat, worker, addresses, picture_url)
    finally:
        for process in (gateway, chat, worker):
            process.kill()
        redis.kill()


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
