"""A picture becomes soft tokens and changes the score of a real text LLM on a real vLLM server."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.registry.registry import Registry
from model_store.views import ItemView, UserView
from service.encoder.server import create_encoder_app
from service.metrics import Metrics
from service.settings import Settings
from service.settings.encoder import EncoderSettings
from service.settings.engines import RankerSettings
from service.settings.worker import WorkerSettings
from tests.model_store.soft_tokens import soft_tokens
from tests.service.conftest import Gateway, gateway_on
from tests.service.pictures.pictures import encoded, picture
from tests.service.recommend.test_picture_tokens import STATE, until
from tests.service.serving import serving
from tests.tiny_model import SOFT
from tests.vllm_servers import ServedModel
from tests.workers.conftest import Worker
from tests.workers.doubles import RecordingSummarizer

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
TOKENS = soft_tokens(SOFT.count, SOFT.width, seed=5)
ASK = {"user_id": "nobody", "candidates": ["red", "plain"], "explain": True, "deadline_ms": 30_000}


def encode(pictures: Sequence[bytes]) -> list[bytes]:
    return [TOKENS] * len(pictures)


@pytest.fixture
async def settings(text_ranker_server: ServedModel, redis_url: str, tmp_path: Path) -> AsyncIterator[Settings]:
    served = text_ranker_server
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text("{}")
    manifest = Registry(tmp_path / "models").add(
        served.manifest, served.prompts.folder, served.weights, encoder=encoder
    )
    app = create_encoder_app(manifest, encode, EncoderSettings(), Metrics())
    async with serving(app) as url:
        yield Settings(
            redis_url=redis_url,
            data_dir=tmp_path,
            state=STATE,
            worker=WorkerSettings(poll_s=0.02, drain_s=60),
            ranker=RankerSettings(
                url=served.url, version=served.manifest.id, encoder_url=url, timeout_s=300.0, connect_timeout_s=60.0
            ),
        )


async def scores(gateway: Gateway) -> list[float]:
    answer = (await gateway.ask("POST", "/recommend", ASK)).json()
    assert not answer["degraded"], answer
    by_item = {item["item_id"]: item["components"]["mllm"] for item in answer["items"]}
    return [by_item["red"], by_item["plain"]]


async def test_a_worker_encodes_the_picture_and_the_next_ranking_sees_it(
    settings: Settings, text_ranker_server: ServedModel
) -> None:
    async with gateway_on(settings) as gateway:
        red = {"item_id": "red", "title": "Red boat", "image_base64": encoded(picture(colour="red"))}
        items = [red, {"item_id": "plain", "title": "Plain cup"}]
        assert (await gateway.ask("POST", "/items", items)).json()["picture_errors"] == []
        before = await scores(gateway)
        worker = Worker(settings, RecordingSummarizer())

        async def ready() -> bool:
            item = await gateway.store.items.get("red")
            return item is not None and item.described and bool(item.encoded)

        await until(ready, 300.0)
        await worker.drain()
        after = await scores(gateway)
        assert gateway.count("tastestream_picture_tokens_total", result="awaited") == 1
        assert gateway.count("tastestream_picture_tokens_total", result="used") == 1
    engine, plain = text_ranker_server.engine(), ItemView("Plain cup")
    blind = ItemView("Red boat", summary="a picture of Red boat")
    expected = await engine.score(UserView(), [replace(blind, picture_tokens=TOKENS), plain])
    without = await engine.score(UserView(), [ItemView("Red boat"), plain, blind])
    await engine.close()
    assert before == pytest.approx(without[:2], abs=1e-5)
    assert after == pytest.approx(expected, abs=1e-5)
    assert abs(after[0] - (without[2] or 0)) > 1e-3, "the picture changes nothing"
