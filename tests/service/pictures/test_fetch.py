"""Guarantees of the picture fetcher, against a server on this machine."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from service.errors import BadPicture
from service.pictures import resolver
from service.pictures.fetch import PictureFetcher
from service.pictures.resolver import HostUnavailable
from service.pictures.slots import HostBusy
from service.settings.pictures import PictureSettings
from tests.service.serving import serving

HOSTS: list[str] = []


async def show(request: Request) -> Response:
    HOSTS.append(request.headers["host"])
    return Response(b"picture", media_type="image/png")


async def redirect(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"])


async def again(request: Request) -> Response:
    left = int(request.path_params["left"])
    return RedirectResponse(f"/again/{left - 1}") if left else Response(b"picture")


async def big(request: Request) -> Response:
    return Response(b"x" * 2000)


async def endless(request: Request) -> Response:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100
            await asyncio.sleep(0)

    return StreamingResponse(drops())


async def slow(request: Request) -> Response:
    await request.receive()
    await request.receive()
    return Response()


async def zipped(request: Request) -> Response:
    return Response(b"\x1f\x8b", headers={"content-encoding": "gzip"})


async def missing(request: Request) -> Response:
    return Response(status_code=404)


async def cookie(request: Request) -> Response:
    answer = Response(request.headers.get("cookie", "none"))
    answer.set_cookie("who", "a" * 100)
    return answer


ROUTES = [
    Route("/cookie", cookie),
    Route("/picture", show),
    Route("/redirect", redirect),
    Route("/again/{left}", again),
    Route("/big", big),
    Route("/endless", endless),
    Route("/slow", slow),
    Route("/zipped", zipped),
    Route("/missing", missing),
]


@pytest.fixture
async def server() -> AsyncIterator[str]:
    HOSTS.clear()
    async with serving(Starlette(routes=ROUTES), "0.0.0.0") as url:
        yield url


async def fetch(url: str, *, private: bool = True, **settings: Any) -> bytes:
    ports = None if private else tuple(range(1, 65536))
    given = {
        "max_bytes": 1000,
        "fetch_timeout_s": 60.0,
        "fetch_first_timeout_s": 60.0,
        "allow_private_addresses": private,
        "fetch_ports": ports,
    }
    given.update(settings)
    fetcher = PictureFetcher(PictureSettings(**given))
    try:
        return await fetcher.fetch(url)
    finally:
        await fetcher.close()


async def refusal(url: str, **settings: Any) -> str:
    with pytest.raises(BadPicture) as caught:
        await fetch(url, **settings)
    return caught.value.detail.partition(":")[0]


async def test_a_picture_is_fetched(server: str) -> None:
    assert await fetch(f"{server}/picture") == b"picture"


async def test_no_proxy_of_the_environment_is_used(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy resolves the name itself and would connect to an address that was not checked."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert await fetch(f"{server}/picture") == b"picture"


async def test_a_private_address_is_never_contacted(server: str) -> None:
    assert await refusal(f"{server}/picture", private=False) == "private_address"
    assert await refusal(server.replace("127.0.0.1", "localhost") + "/picture", private=False) == "private_address"
    assert HOSTS == []


async def test_redirects_are_followed_within_their_number(server: str) -> None:
    assert await fetch(f"{server}/again/3") == b"picture"
    assert await refusal(f"{server}/again/4") == "redirects"


@pytest.fixture
def only_the_first_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 127.0.0.1 were an address of the internet; 127.0.0.2, where the same server listens, is private."""
    monkeypatch.setattr(resolver, "is_public", lambda address: address == "127.0.0.1")


@pytest.mark.usefixtures("only_the_first_is_public")
async def test_every_redirect_is_checked(server: str) -> None:
    inside = server.replace("127.0.0.1", "127.0.0.2")
    assert await fetch(f"{server}/redirect?to={server}/picture", private=False) == b"picture"
    assert await refusal(f"{server}/redirect?to={inside}/picture", private=False) == "private_address"
    assert len(HOSTS) == 1


@pytest.mark.usefixtures("only_the_first_is_public")
async def test_the_address_that_was_checked_is_the_one_contacted(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(server.rpartition(":")[2])
    asked = 0
    genuine = socket.getaddrinfo

    def rebinding(host: Any, *more: Any, **named: Any) -> Any:
        nonlocal asked
        if host != b"rebinding.example.":
            return genuine(host, *more, **named)
        asked += 1
        address = "127.0.0.1" if asked == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert await fetch(f"http://rebinding.example:{port}/picture", private=False) == b"picture"
    assert asked == 1
    assert [f"rebinding.example:{port}"] == HOSTS


@pytest.mark.parametrize(
    "url",
    [
        "",
        "picture.png",
        "//host/picture",
        "http://",
        "http:///picture",
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "gopher://example.com",
        "data:image/png;base64,AAAA",
        "http://user:secret@example.com/a.png",
        "http://example.com:99999/",
        "http://[::1/",
        "http://a\x00b/",
    ],
)
async def test_what_is_no_fetchable_url_is_refused(url: str) -> None:
    assert await refusal(url) == "url"


async def test_a_redirect_to_another_scheme_is_refused(server: str) -> None:
    assert await refusal(f"{server}/redirect?to=file:///etc/passwd") == "url"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/big", "too_many_bytes"), ("/endless", "too_many_bytes"), ("/zipped", "encoding"), ("/missing", "status")],
)
async def test_an_unacceptable_answer_is_refused(server: str, path: str, reason: str) -> None:
    assert await refusal(server + path) == reason


async def test_a_slow_server_is_not_waited_for(server: str) -> None:
    assert await refusal(f"{server}/slow", fetch_timeout_s=0.2) == "timeout"


async def test_a_server_that_does_not_listen_is_unreachable() -> None:
    assert await refusal("http://127.0.0.1:1/a.png") == "unreachable"


async def test_a_first_attempt_is_short_and_a_second_has_the_whole_timeout(server: str) -> None:
    settings = PictureSettings(allow_private_addresses=True, fetch_first_timeout_s=0.1, fetch_timeout_s=0.2)
    fetcher = PictureFetcher(settings)
    for again, least in ((False, "0.1"), (True, "0.2")):
        with pytest.raises(HostUnavailable, match=f"timeout: not fetched within {least} s"):
            await fetcher.fetch(f"{server}/slow", again=again)
    await fetcher.close()


async def test_cookies_are_not_kept(server: str) -> None:
    settings = PictureSettings(allow_private_addresses=True)
    fetcher = PictureFetcher(settings)
    for _ in range(2):
        assert await fetcher.fetch(f"{server}/cookie") == b"none"
    await fetcher.close()


class SilentHosts:
    """Name servers that answer at once only for `good.example`."""

    def __init__(self, port: int) -> None:
        self.speak = threading.Event()
        self._port = port

    def __call__(self, host: bytes, port: int) -> list[Any]:
        if host != b"good.example":
            self.speak.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


async def test_hosts_that_answer_are_fetched_from_however_many_do_not(server: str) -> None:
    """Each dead host is a separate site."""
    port = int(server.rpartition(":")[2])
    silent = SilentHosts(port)
    fetcher = PictureFetcher(
        PictureSettings(allow_private_addresses=True, fetch_first_timeout_s=60.0, fetch_timeout_s=60.0), lookup=silent
    )
    good = f"http://good.example:{port}/picture"
    assert await fetcher.fetch(good) == b"picture"
    dead = [asyncio.create_task(fetcher.fetch(f"http://dead{n}.example/", again=n < 9)) for n in range(100)]
    await asyncio.gather(asyncio.create_task(asyncio.sleep(0)))
    assert sum(isinstance(one.exception(), HostBusy) for one in dead if one.done()) == 88
    assert sum(not one.done() for one in dead[:9]) == 4
    assert await fetcher.fetch(good) == b"picture"
    with pytest.raises(HostBusy):
        await fetcher.fetch(f"{server}/picture")
    silent.speak.set()
    await asyncio.gather(*dead, return_exceptions=True)
    await fetcher.close()
