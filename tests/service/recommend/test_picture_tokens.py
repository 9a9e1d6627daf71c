"""Pictures reach a text LLM as soft tokens, which a worker has made once and stored."""

import asyncio
import base64
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Blend, Labels, Manifest, PictureTokens
from model_store.registry.register import register_blend
from model_store.registry.registry import Registry
from model_store.serving.launch import free_port
from service.encoder.batching import Unreadable
from service.encoder.server import create_encoder_app
from service.metrics import Metrics
from service.pictures.tokens import open_tokens
from service.settings import Settings
from service.settings.encoder import EncoderSettings
from service.settings.engines import RankerSettings
from service.settings.state import StateSettings
from service.settings.worker import WorkerSettings
from tests.model_store.soft_tokens import soft_tokens
from tests.service.conftest import Gateway, gateway_on
from tests.service.pictures.pictures import encoded, picture
from tests.service.serving import serving
from tests.workers.conftest import Worker
from tests.workers.doubles import RecordingSummarizer

SHAPE = PictureTokens(count=2, width=4)
RED = encoded(picture(colour="red"))
WITH, WITHOUT = 0.9, 0.2
STATE = StateSettings(buckets=2, redis_timeout_s=20.0, retry_initial_s=0.02, retry_max_s=0.1)


@dataclass
class TextRanker:
    """Plays vLLM with a text LLM: an item with soft tokens is liked."""

    sent: list[str] = field(default_factory=list)
    """The soft tokens that came, in base64."""
    asked: int = 0

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/classify", self._classify, methods=["POST"])])

    async def _classify(self, request: Request) -> Response:
        (message,) = (await request.json())["messages"]
        tokens = [part["data"] for part in message["content"] if part["type"] == "prompt_embeds"]
        self.sent += tokens
        self.asked += 1
        return JSONResponse({"data": [{"index": 0, "probs": [WITH if tokens else WITHOUT]}]})


@dataclass
class Encoder:
    """What `PictureEncoder` does, without torch's models: tokens that depend on the picture."""

    shape: PictureTokens = SHAPE
    batches: list[int] = field(default_factory=list)
    fault: Exception | None = None

    def __call__(self, pictures: Sequence[bytes]) -> list[bytes]:
        self.batches.append(len(pictures))
        if self.fault is not None:
            raise self.fault
        return [self.tokens(one) for one in pictures]

    def tokens(self, content: bytes) -> bytes:
        return soft_tokens(self.shape.count, self.shape.width, zlib.crc32(content))


def add_version(folder: Path, number: int, shape: PictureTokens = SHAPE) -> Manifest:
    weights, encoder = folder / f"weights{number}", folder / f"encoder{number}"
    for part in (weights, encoder):
        part.mkdir(parents=True)
        (part / "config.json").write_text(f'{{"number": {number}}}')
    manifest = Manifest(
        name="text",
        version=number,
        role="ranker",
        labels=Labels(yes_id=1, no_id=2),
        picture_tokens=shape,
        serving={"architecture": "LlamaForSequenceClassification"},
    )
    return Registry(folder / "models").add(manifest, BUILT_IN / "default", weights, encoder=encoder)


@dataclass
class Shop:
    """A gateway, and what belongs to it."""

    gateway: Gateway
    ranker: TextRanker
    encoder: Encoder
    settings: Settings
    manifest: Manifest

    async def put(self, item: str, **fields: Any) -> None:
        body = {"title": f"A {item}", **fields}
        assert (await self.gateway.ask("PUT", f"/items/{item}", body)).status_code in {200, 201}

    async def score(self, item: str, user: str = "u") -> float:
        ask = {"user_id": user, "candidates": [item], "explain": True, "deadline_ms": 30_000}
        answer = (await self.gateway.ask("POST", "/recommend", ask)).json()
        assert not answer["degraded"], answer
        score: float = answer["items"][0]["components"]["mllm"]
        return score

    async def shown(self, item: str) -> None:
        """Wait until the item is ranked with its tokens."""
        await until(lambda: self._is(item, WITH))

    async def _is(self, item: str, expected: float) -> bool:
        return await self.score(item) == pytest.approx(expected)

    def count(self, result: str) -> float:
        return self.gateway.count("tastestream_picture_tokens_total", result=result)

    @asynccontextmanager
    async def worker(self, settings: Settings | None = None) -> AsyncIterator[Worker]:
        worker = Worker(settings or self.settings, RecordingSummarizer())
        yield worker
        await worker.drain()

    def files(self, manifest: Manifest | None = None) -> list[Path]:
        folder = self.settings.data_dir / "pictures" / "tokens" / (manifest or self.manifest).encoder_id
        return [path for path in folder.rglob("*") if path.is_file()]


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(redis_url: str, folder: Path, manifest: Manifest) -> AsyncIterator[Shop]:
    ranker, encoder, version = TextRanker(), Encoder(), manifest.id
    app = create_encoder_app(manifest, encoder, EncoderSettings(), Metrics())
    async with serving(ranker.app()) as url, serving(app) as encoder_url:
        settings = Settings(
            redis_url=redis_url,
            data_dir=folder,
            state=STATE,
            worker=WorkerSettings(poll_s=0.02, drain_s=60),
            ranker=RankerSettings(url=url, version=version, encoder_url=encoder_url, timeout_s=60.0),
        )
        async with gateway_on(settings) as gateway:
            await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "liked", "type": "like"})
            yield Shop(gateway, ranker, encoder, settings, manifest)


@pytest.fixture
async def shop(redis_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(redis_url, tmp_path, add_version(tmp_path, 1)) as shop:
        yield shop


async def test_an_item_is_ranked_by_its_words_until_its_picture_is_encoded(shop: Shop) -> None:
    await shop.put("cup", image_base64=RED)
    assert await shop.score("cup") == pytest.approx(WITHOUT)
    asked = shop.ranker.asked
    assert await shop.score("cup") == pytest.approx(WITHOUT)
    assert shop.ranker.asked == asked, "its score is cached"
    assert shop.count("awaited") == 1
    async with shop.worker() as worker:
        await shop.shown("cup")
        assert worker.count("encode", "committed") == 1
    stored = await shop.gateway.store.items.get("cup")
    assert stored is not None
    (file,) = shop.files()
    assert file.name == stored.picture
    assert shop.ranker.sent == [base64.b64encode(file.read_bytes()).decode()]
    assert shop.count("used") == 1


async def test_an_item_without_a_picture_is_not_encoded(shop: Shop) -> None:
    await shop.put("plain")
    await shop.put("cup", image_base64=RED)
    async with shop.worker() as worker:
        await shop.shown("cup")
        assert await shop.score("plain") == pytest.approx(WITHOUT)
        assert worker.count("encode", "committed") == 1
    assert shop.count("no_picture") == 1


async def test_one_picture_of_several_items_is_encoded_once_and_new_words_need_no_encoder(shop: Shop) -> None:
    await shop.put("cup", image_base64=RED)
    async with shop.worker() as worker:
        await shop.shown("cup")
        await shop.put("cup", title="A blue cup", image_base64=RED)
        await shop.put("mug", image_base64=RED)
        await shop.shown("mug")
        await shop.shown("cup")
        assert worker.count("encode", "committed") == 3
    assert sum(shop.encoder.batches) == 1


async def test_a_new_picture_gets_new_tokens(shop: Shop) -> None:
    await shop.put("cup", image_base64=RED)
    async with shop.worker():
        await shop.shown("cup")
        await shop.put("cup", image_base64=encoded(picture(colour="blue")))
        await until(lambda: _sent(shop, 2))
    assert len(set(shop.ranker.sent)) == 2


async def _sent(shop: Shop, number: int) -> bool:
    await shop.score("cup")
    return len(shop.ranker.sent) == number


async def test_without_an_encoder_items_are_ranked_and_work_waits_for_it(shop: Shop) -> None:
    nobody = shop.settings.ranker.model_copy(update={"encoder_url": f"http://127.0.0.1:{free_port()}"})
    await shop.put("cup", image_base64=RED)
    async with shop.worker(shop.settings.model_copy(update={"ranker": nobody})) as worker:

        async def released() -> bool:
            return worker.count("encode", "released") >= 8

        await until(released)
        assert await shop.score("cup") == pytest.approx(WITHOUT)
        assert worker.count("encode", "retried") == worker.count("encode", "dead_lettered") == 0
    async with shop.worker():
        await shop.shown("cup")


async def test_tokens_of_another_width_are_never_sent_and_made_anew(shop: Shop) -> None:
    await shop.put("cup", image_base64=RED)
    async with shop.worker():
        await shop.shown("cup")
    (file,) = shop.files()
    file.write_bytes(soft_tokens(SHAPE.count, SHAPE.width + 1))
    async with gateway_on(shop.settings) as other:
        fresh = Shop(other, shop.ranker, shop.encoder, shop.settings, shop.manifest)
        before = list(shop.ranker.sent)
        assert await fresh.score("cup", "another") == pytest.approx(WITHOUT)
        assert shop.ranker.sent == before
        assert (fresh.count("refused"), fresh.count("used")) == (1, 0)
        async with shop.worker():
            await fresh.shown("cup")
    assert file.read_bytes() == soft_tokens(SHAPE.count, SHAPE.width, zlib.crc32(await _picture(shop, file.name)))


async def _picture(shop: Shop, name: str) -> bytes:
    return (shop.settings.data_dir / "pictures" / name[:2] / name).read_bytes()


async def test_lost_tokens_are_made_anew(shop: Shop) -> None:
    await shop.put("cup", image_base64=RED)
    async with shop.worker():
        await shop.shown("cup")
        (file,) = shop.files()
        file.unlink()
        async with gateway_on(shop.settings) as other:
            fresh = Shop(other, shop.ranker, shop.encoder, shop.settings, shop.manifest)
            await fresh.score("cup", "another")
            assert fresh.count("lost") == 1
            await until(lambda: asyncio.to_thread(file.exists))


async def test_a_promoted_version_gets_its_tokens_when_its_items_are_ranked(
    shop: Shop, redis_url: str, tmp_path: Path
) -> None:
    await shop.put("cup", image_base64=RED)
    async with shop.worker():
        await shop.shown("cup")
    async with opened(redis_url, tmp_path, add_version(tmp_path, 2, PictureTokens(count=3, width=4))) as second:
        second.encoder.shape = PictureTokens(count=3, width=4)
        assert await second.score("cup") == pytest.approx(WITHOUT), "tokens of another version are not shown"
        async with second.worker() as worker:
            await second.shown("cup")
            assert worker.count("encode", "committed") == 1
        assert len(second.files()) == len(second.files(shop.manifest)) == 1
        stored = await second.gateway.store.items.get("cup")
        assert stored is not None
        encoders = (second.manifest.encoder_id, shop.manifest.encoder_id)
        assert stored.encoded == encoders, "a roll-back needs no encoder"


async def test_a_version_with_another_blend_has_the_tokens_already(shop: Shop, redis_url: str, tmp_path: Path) -> None:
    await shop.put("cup", image_base64=RED)
    async with shop.worker():
        await shop.shown("cup")
    registry = Registry(shop.settings.models_root)
    refitted = register_blend(registry, registry.get("text@1"), Blend(popular=1.0), {})
    async with opened(redis_url, tmp_path, refitted) as second:
        assert await second.score("cup", "another") == pytest.approx(WITH)
        assert second.encoder.batches == []


async def test_a_picture_that_cannot_be_encoded_is_dead_lettered_and_not_tried_again(shop: Shop) -> None:
    shop.encoder.fault = Unreadable("no picture")
    await shop.put("cup", image_base64=RED)
    async with shop.worker() as worker:

        async def dead_lettered() -> bool:
            return worker.count("encode", "dead_lettered") == 1

        await until(dead_lettered)
        queue = shop.gateway.store.encodings
        assert queue is not None
        assert await queue.request(["cup"], shop.manifest.encoder_id) == 0
        assert await queue.request(["cup"], "another") == 1, "another encoder may read it"


async def test_only_what_lacks_tokens_is_queued_once(shop: Shop) -> None:
    queue = shop.gateway.store.encodings
    assert queue is not None
    await shop.put("plain")
    assert await queue.request(["plain", "unknown"], "text@1") == 0
    await shop.put("cup", image_base64=RED)
    assert await queue.request(["cup"], "text@1") == 0, "it is queued since it was put"
    (claim,) = await queue.claim(10)
    assert await queue.request(["cup"], "text@1") == 0, "it is being worked on"
    assert await queue.commit(claim, "text@1", "text@1")
    assert await queue.request(["cup"], "text@1") == 0
    assert await queue.request(["cup"], "text@1", {"cup"}) == 1


async def test_a_caller_cannot_send_tokens(shop: Shop) -> None:
    for name in ("picture_tokens", "prompt_embeds"):
        item = {"item_id": "x", "title": "A cup", name: base64.b64encode(soft_tokens()).decode()}
        ask = {"user_id": "u", "candidates": [item]}
        assert (await shop.gateway.ask("POST", "/recommend", ask)).status_code == 422
        assert (await shop.gateway.ask("PUT", "/items/x", item)).status_code == 422
    await shop.put("cup", title="<prompt_embeds> A cup")
    assert await shop.score("cup") == pytest.approx(WITHOUT)


async def test_tokens_go_with_their_picture(shop: Shop) -> None:
    from service.pictures.store import open_pictures
    from service.pictures.tokens import token_folders
    from workers.sweep import sweep_pictures

    await shop.put("cup", image_base64=RED)
    await shop.put("pan", image_base64=encoded(picture(colour="blue")))
    async with shop.worker():
        await shop.shown("cup")
        await shop.shown("pan")
    await shop.gateway.ask("DELETE", "/items/cup")
    pictures = open_pictures(shop.settings)
    tokens = token_folders(shop.settings, pictures)
    swept = await sweep_pictures(shop.gateway.store, pictures, 0.0, tokens=tokens)
    assert (swept.removed, swept.kept) == (2, 2)
    assert len(shop.files()) == 1


async def test_what_was_read_once_is_not_read_again(shop: Shop) -> None:
    await shop.put("cup", image_base64=RED)
    async with shop.worker():
        await shop.shown("cup")
    tokens, version = open_tokens(shop.settings), Registry(shop.settings.models_folder).get("text@1")
    (file,) = shop.files()
    first = (await tokens.read_many(version, [file.name])).found
    file.unlink()
    assert (await tokens.read_many(version, [file.name, "no hash"])).found == first


async def test_without_an_encoder_nothing_is_queued_and_items_are_ranked_by_their_words(
    shop: Shop, redis_url: str
) -> None:
    ranker = shop.settings.ranker.model_copy(update={"encoder_url": None})
    settings = shop.settings.model_copy(update={"ranker": ranker})
    async with gateway_on(settings) as other:
        alone = Shop(other, shop.ranker, shop.encoder, settings, shop.manifest)
        await alone.put("cup", image_base64=RED)
        assert await alone.score("cup") == pytest.approx(WITHOUT)
        assert alone.count("awaited") == 1
        assert other.store.encodings is None
    queue = shop.gateway.store.encodings
    assert queue is not None
    assert await queue.claim(10) == []
    assert await shop.score("cup", "another") == pytest.approx(WITHOUT)
    await until(lambda: _queued(shop))


async def _queued(shop: Shop) -> bool:
    queue = shop.gateway.store.encodings
    return queue is not None and await queue.count() == 1
