"""Compressed bodies are accepted in every form that clients send, and a decompression bomb is stopped at the limit."""

import gzip
import zlib
from collections.abc import Callable

import httpx
import orjson
import pytest

from service.settings.limits import LimitSettings
from tests.service.conftest import Gateway, OpenGateway

EVENTS = [{"user_id": "u", "item_id": f"i{number}"} for number in range(5)]


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def two_members(body: bytes) -> bytes:
    return gzip.compress(body[:40]) + gzip.compress(body[40:])


async def send(gateway: Gateway, body: bytes, encoding: str, kind: str = "application/json") -> httpx.Response:
    headers = {"content-type": kind, "content-encoding": encoding}
    return await gateway.client.post("/events", content=body, headers=headers)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip", two_members),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
    ],
)
async def test_a_compressed_batch_is_accepted(gateway: Gateway, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    answer = await send(gateway, pack(orjson.dumps(EVENTS)), encoding)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 5)


async def test_a_compressed_stream_of_lines_is_accepted(gateway: Gateway) -> None:
    lines = b"\n".join(
        orjson.dumps({"user_id": f"u{n}", "item_id": "i", "context": {"n": "x" * 99}}) for n in range(3000)
    )
    answer = await send(gateway, gzip.compress(lines), "gzip", "application/x-ndjson")
    assert (answer.status_code, answer.json()["accepted"]) == (202, 3000)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "nonsense"])
async def test_another_encoding_is_refused_with_a_remedy(gateway: Gateway, encoding: str) -> None:
    answer = await send(gateway, b"...", encoding)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")
    assert "gzip" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"[]"),
        ("gzip", gzip.compress(b"[" * 1000, mtime=0)[:-9]),
        ("gzip", gzip.compress(b"[]", mtime=0) + b"more"),
        ("deflate", b"\xff\xff\xff"),
        ("deflate", zlib.compress(b"[]") + b"more"),
    ],
)
async def test_a_wrong_content_encoding_is_a_malformed_body(gateway: Gateway, encoding: str, body: bytes) -> None:
    answer = await send(gateway, body, encoding)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


async def test_the_limit_counts_decompressed_bytes(open_gateway: OpenGateway) -> None:
    async with open_gateway(limits=LimitSettings(body_bytes=100_000)) as gateway:
        bomb = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
        answer = await send(gateway, bomb, "gzip")
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_an_endless_decompressed_line_is_too_long(gateway: Gateway) -> None:
    bomb = gzip.compress(b'{"user_id": "' + b"x" * 50_000_000)
    answer = await send(gateway, bomb, "gzip", "application/x-ndjson")
    assert (answer.status_code, answer.json()["rejected"][0]["code"]) == (422, "line_too_long")
