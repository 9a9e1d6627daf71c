"""A stream is never held in memory, as measured from outside the gateway's process."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson

from model_store.serving.launch import free_port
from tests.faults.processes import GatewayProcess

LINES = 200_000
BATCH = 2000
GROWTH_BYTES = 32 * 1024 * 1024
"""Less than half of what is sent, and far less than it takes when parsed."""


def batch() -> bytes:
    """Lines of many users; sent again, they are duplicates."""
    return b"".join(
        orjson.dumps(
            {
                "event_id": f"e{number}",
                "user_id": f"u{number % 100}",
                "item_id": f"i{number}",
                "context": {"page": f"{number:0300}"},
            }
        )
        + b"\n"
        for number in range(BATCH)
    )


def peak_bytes(process: int) -> int:
    """The peak memory of the process so far."""
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


async def test_a_stream_of_many_lines_leaves_the_memory_as_it_was(redis_url: str, tmp_path: Path) -> None:
    lines = batch()

    async def stream(times: int) -> AsyncIterator[bytes]:
        for _ in range(times):
            yield lines

    environment = {"TASTESTREAM_REDIS_URL": redis_url, "TASTESTREAM_DATA_DIR": str(tmp_path)}
    gateway = GatewayProcess(free_port(), environment, tmp_path / "log")
    gateway.start()
    try:
        await gateway.ready()
        async with httpx.AsyncClient(base_url=gateway.url, timeout=200, trust_env=False) as client:
            headers = {"content-type": "application/x-ndjson"}
            first = await client.post("/events", content=stream(2), headers=headers)
            assert (first.json()["accepted"], first.json()["duplicates"]) == (BATCH, BATCH)
            before = peak_bytes(gateway.pid)
            times = LINES // BATCH
            assert len(lines) * times > 2 * GROWTH_BYTES
            answer = await client.post("/events", content=stream(times), headers=headers)
            assert answer.json()["duplicates"] == LINES
            assert peak_bytes(gateway.pid) - before < GROWTH_BYTES
    finally:
        gateway.kill()
