"""The picture encoder: batches what arrives together, bounds what it takes, and one bad picture costs only itself."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from model_store.registry.manifest import Manifest
from service.encoder.batching import Unreadable
from service.encoder.server import create_encoder_app
from service.metrics import Metrics
from service.pictures.encoders import Encoders, EncoderUnavailable, PictureRefused
from service.settings.encoder import EncoderSettings
from tests.service.serving import serving, until

VERSION = Manifest(name="text", version=1, role="ranker", encoder_sha256="e1")


@dataclass
class Slow:
    """Encodes a picture as itself, when it may go on."""

    batches: list[list[bytes]] = field(default_factory=list)
    may_go_on: threading.Event = field(default_factory=threading.Event)

    def __call__(self, pictures: Sequence[bytes]) -> list[bytes]:
        self.batches.append(list(pictures))
        assert self.may_go_on.wait(60)
        if b"bad" in pictures:
            raise Unreadable("no picture")
        if b"fault" in pictures:
            raise RuntimeError("out of memory")
        return [b"tokens of " + one for one in pictures]


@dataclass
class Running:
    url: str
    slow: Slow
    metrics: Metrics

    def count(self, outcome: str) -> float:
        return self.metrics.encoder_pictures.labels(outcome)._value.get()


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    slow, metrics = Slow(), Metrics()
    app = create_encoder_app(VERSION, slow, EncoderSettings(**settings), metrics)
    async with serving(app) as url:
        try:
            yield Running(url, slow, metrics)
        finally:
            slow.may_go_on.set()


@asynccontextmanager
async def asking(*urls: str, timeout_s: float = 60.0) -> AsyncIterator[Encoders]:
    encoders = Encoders(urls, timeout_s)
    yield encoders
    await encoders.close()


async def test_pictures_that_arrive_together_are_encoded_together() -> None:
    async with running(max_batch=3) as encoder, asking(encoder.url) as encoders:
        asked = [asyncio.create_task(encoders.encode("e1", b"%d" % number)) for number in range(8)]
        await until(lambda: encoder.metrics.encoder_pictures is not None and len(encoder.slow.batches) == 1)
        encoder.slow.may_go_on.set()
        assert await asyncio.gather(*asked) == [b"tokens of %d" % number for number in range(8)]
        assert max(map(len, encoder.slow.batches)) <= 3
        assert encoder.count("encoded") == 8


@pytest.mark.parametrize(("bad", "error"), [(b"bad", PictureRefused), (b"fault", EncoderUnavailable)])
async def test_a_picture_that_fails_costs_only_itself_or_its_batch(bad: bytes, error: type[Exception]) -> None:
    async with running() as encoder, asking(encoder.url) as encoders:
        first = asyncio.create_task(encoders.encode("e1", b"first"))
        await until(lambda: len(encoder.slow.batches) == 1)
        asked = [asyncio.create_task(encoders.encode("e1", one)) for one in (bad, b"good")]
        await asyncio.sleep(0)
        encoder.slow.may_go_on.set()
        assert await first == b"tokens of first"
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found[0], error)
        assert bad == b"fault" or found[1] == b"tokens of good"
        assert await encoders.encode("e1", b"later") == b"tokens of later"


async def test_it_sheds_what_it_has_no_place_for() -> None:
    async with running(max_waiting=2) as encoder, asking(encoder.url) as encoders:
        asked = [asyncio.create_task(encoders.encode("e1", b"%d" % number)) for number in range(5)]
        await until(lambda: encoder.count("shed") == 3)
        encoder.slow.may_go_on.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(one, EncoderUnavailable) for one in found) == 3


async def test_a_body_of_more_than_the_limit_is_refused() -> None:
    async with running(max_bytes=10) as encoder, httpx.AsyncClient(trust_env=False) as client:
        encoder.slow.may_go_on.set()
        assert (await client.post(f"{encoder.url}/encode", content=b"x" * 11)).status_code == 413
        assert (await client.post(f"{encoder.url}/encode", content=b"x" * 10)).status_code == 200


async def test_it_answers_for_its_own_version_only_and_the_one_that_has_it_is_found() -> None:
    async with running() as encoder, running() as other, asking(other.url, encoder.url) as encoders:
        encoder.slow.may_go_on.set()
        with pytest.raises(
            EncoderUnavailable, match="no server has the encoder e2: this is the encoder e1 of text@1"
        ) as failed:
            await encoders.encode("e2", b"x")
        assert not failed.value.asked
        assert encoder.slow.batches == other.slow.batches == []


async def test_an_encoder_that_is_down_does_not_keep_the_others_from_being_asked() -> None:
    async with running() as down:
        pass
    async with running() as encoder, asking(down.url, encoder.url) as encoders:
        encoder.slow.may_go_on.set()
        assert await encoders.encode("e1", b"x") == b"tokens of x"
        with pytest.raises(EncoderUnavailable, match=down.url) as failed:
            await encoders.encode("e2", b"x")
        assert failed.value.asked, "the one that is down may have it"


async def test_a_late_encoder_and_none_at_all_are_unavailable() -> None:
    async with running() as encoder, asking(encoder.url, timeout_s=0.2) as encoders:
        with pytest.raises(EncoderUnavailable, match=r"did not answer within 0\.2 s"):
            await encoders.encode("e1", b"x")
    async with asking(encoder.url) as encoders:
        with pytest.raises(EncoderUnavailable):
            await encoders.encode("e1", b"x")


async def test_it_shows_its_version_and_its_series() -> None:
    async with running() as encoder, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{encoder.url}/healthz")).json() == {
            "status": "ok",
            "version": "text@1",
            "encoder": "e1",
        }
        assert "tastestream_encoder_batch_pictures_count" in (await client.get(f"{encoder.url}/metrics")).text
