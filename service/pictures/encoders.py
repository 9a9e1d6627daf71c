"""Asks the picture encoders, which turn pictures into soft tokens, over HTTP."""

import asyncio
from collections.abc import Sequence

import aiohttp

_MAX_ANSWER_BYTES = 8 * 1024 * 1024
_OK, _WRONG_VERSION, _UNREADABLE = 200, 409, 422
ENCODER_PARAMETER = "encoder"


class EncoderUnavailable(Exception):
    """No encoder gave an answer; the message says why. `asked` is false if no server has the encoder."""

    def __init__(self, message: str, *, asked: bool = True) -> None:
        super().__init__(message)
        self.asked = asked


class PictureRefused(Exception):
    """The encoder can't read the picture."""


class Encoders:
    """The encoders at `urls`, of different model versions.

    Args:
        timeout_s: of encoding one picture.
    """

    def __init__(self, urls: Sequence[str], timeout_s: float) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def encode(self, encoder: str, picture: bytes) -> bytes:
        """The soft tokens that this encoder, a `Manifest.encoder_id`, makes of an encoded picture.

        Raises:
            EncoderUnavailable: no server has this encoder, or one that may have it does not answer.
            PictureRefused: it can't read the picture.
        """
        others, failed = [], None
        for url in self._urls:
            try:
                status, answer = await self._post(url, encoder, picture)
            except EncoderUnavailable as error:
                failed = error
                continue
            if status == _OK:
                return answer
            reason = answer[:200].decode(errors="replace")
            if status == _UNREADABLE:
                raise PictureRefused(reason)
            if status != _WRONG_VERSION:
                failed = EncoderUnavailable(f"{url} answered {status}: {reason}")
                continue
            others.append(reason)
        if failed is not None:
            raise failed
        raise EncoderUnavailable(f"no server has the encoder {encoder}: {'; '.join(others)}", asked=False)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, url: str, encoder: str, picture: bytes) -> tuple[int, bytes]:
        if self._session is None:
            # An encoder is in the private network, and is not reached through the proxies for the Internet.
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.post(
                    f"{url}/encode", params={ENCODER_PARAMETER: encoder}, data=picture, allow_redirects=False
                ) as response,
            ):
                answer = b""
                async for piece in response.content.iter_any():
                    answer += piece
                    if len(answer) > _MAX_ANSWER_BYTES:
                        raise EncoderUnavailable(f"{url} answered with more than {_MAX_ANSWER_BYTES} bytes")
                return response.status, answer
        except TimeoutError:
            raise EncoderUnavailable(f"{url} did not answer within {self._timeout_s:g} s") from None
        except aiohttp.ClientError as error:
            raise EncoderUnavailable(f"{url}: {error or type(error).__name__}") from None
