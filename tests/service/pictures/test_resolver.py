"""Guarantees of looking up the hosts of pictures."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from service.errors import BadPicture
from service.pictures.resolver import Resolver
from service.pictures.slots import HostBusy
from service.pictures.urls import parse
from service.settings.pictures import PictureSettings

MANY = 200
OPEN = PictureSettings(allow_private_addresses=True)


def answer(*addresses: str) -> list[tuple[Any, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]


class SilentServer:
    """A resolver that answers only for hosts that begin with `good`, until `speak` is set."""

    def __init__(self) -> None:
        self.speak = threading.Event()
        self.full = threading.Event()
        self.asked: list[bytes] = []

    def __call__(self, host: bytes, port: int) -> Sequence[tuple[Any, ...]]:
        self.asked.append(host)
        if len(self.asked) == MANY:
            self.full.set()
        if not host.startswith(b"good"):
            self.speak.wait(60)
        return answer("8.8.8.8")


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.speak.set()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]"])
async def test_a_private_address_is_refused_in_any_notation(host: str) -> None:
    with pytest.raises(BadPicture, match=r"private_address|unresolved|url"):
        await Resolver(4, 4, allow_private=False).resolve(parse(f"http://{host}/", PictureSettings()))


async def test_one_private_address_among_public_ones_is_refused() -> None:
    resolver = Resolver(4, 4, allow_private=False, lookup=lambda host, port: answer("8.8.8.8", "10.0.0.1"))
    with pytest.raises(BadPicture, match="private_address"):
        await resolver.resolve(parse("http://two-faced.example/", OPEN))


async def test_a_name_is_looked_up_without_the_search_domains_of_the_machine(silent: SilentServer) -> None:
    resolver = Resolver(4, 4, allow_private=False, lookup=silent)
    assert await resolver.resolve(parse("http://good.faß.example/", OPEN)) == "8.8.8.8"
    assert silent.asked == [b"good.xn--fa-hia.example."]


@pytest.mark.parametrize("raised", [socket.gaierror(-2, "unknown"), OSError("network"), UnicodeError("label")])
async def test_an_unknown_host_is_refused(raised: Exception) -> None:
    def fail(host: bytes, port: int) -> Sequence[tuple[Any, ...]]:
        raise raised

    with pytest.raises(BadPicture, match="unresolved"):
        await Resolver(4, 4, allow_private=True, lookup=fail).resolve(parse("http://no-such-host.invalid/", OPEN))


async def test_a_silent_name_server_holds_only_its_sites_threads(silent: SilentServer) -> None:
    resolver = Resolver(16, 3, allow_private=False, lookup=silent)
    stuck = [asyncio.create_task(resolver.resolve(parse(f"http://h{n}.dead.example/", OPEN))) for n in range(20)]
    # All have started when this one has.
    await asyncio.gather(asyncio.create_task(asyncio.sleep(0)))
    assert sum(isinstance(one.exception(), HostBusy) for one in stuck if one.done()) == 17
    assert await resolver.resolve(parse("http://good.shop.test/", OPEN)) == "8.8.8.8"
    for one in stuck:
        one.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    # The cancelled look-ups still hold their threads.
    with pytest.raises(HostBusy):
        await resolver.resolve(parse("http://h99.dead.example/", OPEN))


async def test_the_event_loops_own_lookups_go_on_meanwhile(silent: SilentServer) -> None:
    """200 names without an answer held all threads of the loop's resolver and blocked connections to the ranker."""
    resolver = Resolver(300, 300, allow_private=False, lookup=silent)
    stuck = [asyncio.create_task(resolver.resolve(parse(f"http://h{n}.dead{n}.example/", OPEN))) for n in range(MANY)]
    await asyncio.to_thread(silent.full.wait, 30)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        assert await loop.getaddrinfo("localhost", 80)
        assert await asyncio.to_thread(lambda: "free") == "free"
    assert not any(one.done() for one in stuck)
    for one in stuck:
        one.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
