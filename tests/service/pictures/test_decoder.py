"""Guarantees of decoding in other processes."""

import asyncio
import os
import re
import resource
import signal
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest
from PIL import Image

from service.errors import BadPicture, Overloaded, StateUnavailable
from service.metrics import Metrics
from service.pictures import decoder_process
from service.pictures.decoder import PictureDecoder
from service.settings.pictures import PictureSettings
from tests.service.pictures.pictures import opened, picture, saved

NOISE = saved(Image.effect_noise((4000, 4000), 80))
OpenDecoder = Callable[..., AbstractAsyncContextManager[PictureDecoder]]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def open_decoder(metrics: Metrics) -> OpenDecoder:
    @asynccontextmanager
    async def opened(**settings: float) -> AsyncIterator[PictureDecoder]:
        given = {"decode_timeout_s": 120.0, "max_bytes": 64 * 2**20, **settings}
        decoder = PictureDecoder(PictureSettings(**given), metrics)
        try:
            yield decoder
        finally:
            await decoder.close()

    return opened


def ended(metrics: Metrics, cause: str) -> float:
    return metrics.registry.get_sample_value("tastestream_picture_decoders_ended_total", {"cause": cause}) or 0.0


def children() -> set[int]:
    """Child processes that decode pictures; a thread or a process may end while they are listed."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in (task / "children").read_text().split():
                if b"decoder_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.add(int(pid))
    return found


def of_process(pid: int, file: str) -> str:
    return Path(f"/proc/{pid}/{file}").read_text()


async def refusal(decoder: PictureDecoder, encoded: bytes) -> str:
    with pytest.raises(BadPicture) as caught:
        await decoder.decode(encoded)
    return caught.value.detail.partition(":")[0]


async def test_pictures_are_re_encoded_from_bytes_and_from_base64(open_decoder: OpenDecoder) -> None:
    async with open_decoder() as decoder:
        sent = picture("PNG", (1000, 500))
        drawn = await decoder.decode(sent)
        assert opened(drawn.content).size == (512, 256)
        assert await decoder.decode_base64(b64encode(sent).decode()) == drawn


async def test_a_refusal_has_a_reason_and_ends_no_process(open_decoder: OpenDecoder, metrics: Metrics) -> None:
    async with open_decoder(max_concurrent_decodes=1) as decoder:
        assert await refusal(decoder, b"no picture") == "format"
        serving = children()
        assert await refusal(decoder, picture("JPEG", (300, 300))[:-40]) == "damaged"
        assert children() == serving
        assert len(serving) == 1


async def test_a_picture_that_takes_too_much_memory_is_refused_and_the_next_is_not(open_decoder: OpenDecoder) -> None:
    async with open_decoder(decode_memory_bytes=24 * 2**20) as decoder:
        assert await refusal(decoder, saved(Image.new("RGB", (4000, 4000)))) == "too_costly"
        assert opened((await decoder.decode(picture())).content).size == (6, 4)


async def test_a_picture_that_takes_too_much_processor_time_is_refused_and_the_next_is_not(
    open_decoder: OpenDecoder, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    animated = Image.effect_noise((1600, 1600), 2)
    slow = saved(animated, "GIF", save_all=True, append_images=[animated.rotate(n) for n in range(12)])
    async with open_decoder(decode_cpu_s=1, max_pixels=10**9) as decoder:
        await decoder.decode(picture())
        for pid in children():
            # As if a picture had used up the time.
            os.kill(pid, signal.SIGXCPU)
        assert await refusal(decoder, slow) == "too_costly"
        assert ended(metrics, "cpu") == 1
        assert opened((await decoder.decode(picture())).content).size == (6, 4)


async def test_a_picture_that_takes_too_long_is_refused_and_its_process_replaced(
    open_decoder: OpenDecoder, metrics: Metrics
) -> None:
    async with open_decoder(decode_timeout_s=0.001) as decoder:
        assert await refusal(decoder, NOISE) == "too_costly"
        assert ended(metrics, "timeout") == 1


async def test_a_crash_of_the_decoder_affects_one_picture(open_decoder: OpenDecoder, metrics: Metrics) -> None:
    async with open_decoder(max_concurrent_decodes=1) as decoder:
        await decoder.decode(picture())
        (pid,) = children()
        os.kill(pid, signal.SIGSEGV)
        assert await refusal(decoder, picture()) == "damaged"
        assert ended(metrics, "crash") == 1
        await decoder.decode(picture())
        assert len(children() - {pid}) == 1


async def test_every_kind_of_picture_is_decoded_without_opening_a_file(open_decoder: OpenDecoder) -> None:
    shaded = Image.linear_gradient("L")
    kinds = [saved(shaded.convert("RGB"), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP")]
    kinds += [saved(shaded, "TIFF", compression=how) for how in ("raw", "tiff_lzw", "jpeg")]
    kinds += [saved(shaded, kind, save_all=True, append_images=[shaded]) for kind in ("MPO", "GIF", "PNG", "WEBP")]
    kinds += [saved(shaded.convert(mode), "TIFF") for mode in ("LAB", "I;16", "CMYK", "P", "RGBA", "1")]
    async with open_decoder(max_concurrent_decodes=1) as decoder:
        for encoded in kinds:
            # In a new process, so that modules that one kind has loaded do not help the next.
            await decoder.close()
            assert opened((await decoder.decode(encoded)).content).size == (256, 256)


async def test_no_more_processes_than_the_settings_say(open_decoder: OpenDecoder) -> None:
    async with open_decoder(max_concurrent_decodes=2) as decoder:
        drawn = await asyncio.gather(*(decoder.decode(picture()) for _ in range(20)))
        assert len(set(drawn)) == 1
        assert len(children()) == 2
    assert children() == set()


async def test_more_pictures_than_may_wait_are_rejected(open_decoder: OpenDecoder) -> None:
    async with open_decoder(max_concurrent_decodes=1, max_waiting_decodes=3) as decoder:
        outcomes = await asyncio.gather(*(decoder.decode(picture()) for _ in range(5)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes[3:]] == [Overloaded, Overloaded]
        assert not any(isinstance(outcome, BaseException) for outcome in outcomes[:3])


async def test_a_cancelled_caller_ends_the_work_on_its_picture(open_decoder: OpenDecoder, metrics: Metrics) -> None:
    async with open_decoder(max_concurrent_decodes=1) as decoder:
        await decoder.decode(picture())
        asked = asyncio.create_task(decoder.decode(NOISE))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert ended(metrics, "cancelled") == 1
        await decoder.decode(picture())


async def test_if_no_process_can_be_started_the_caller_may_retry(
    open_decoder: OpenDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    async with open_decoder() as decoder:
        with monkeypatch.context() as broken:
            broken.setattr(asyncio, "create_subprocess_exec", fail)
            with pytest.raises(StateUnavailable):
                await decoder.decode(picture())
        with monkeypatch.context() as broken:
            broken.setattr("sys.executable", "/bin/false")
            with pytest.raises(StateUnavailable):
                await decoder.decode(picture())
        await decoder.decode(picture())


async def test_the_processes_have_none_of_the_gateway_s_secrets_and_end_with_it(
    open_decoder: OpenDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASTESTREAM_REDIS_URL", "redis://:secret@h")
    async with open_decoder() as decoder:
        await decoder.decode(picture())
        (pid,) = children()
        assert "secret" not in of_process(pid, "environ")
        limits = of_process(pid, "limits")
        assert re.search(r"^Max file size +0 +0 ", limits, re.MULTILINE)
        assert re.search(r"^Max open files +0 +0 ", limits, re.MULTILINE)
    assert children() == set()


def test_a_system_that_bounds_no_memory_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert decoder_process._bound(resource.RLIMIT_AS, 2**30) is False
