"""Looks up the hosts of pictures in threads that nothing else uses."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from service.errors import BadPicture
from service.pictures.addresses import is_public
from service.pictures.slots import Slots
from service.pictures.urls import Target

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_FAMILY})
Lookup = Callable[[bytes, int], Sequence[tuple[Any, ...]]]


def look_up(host: bytes, port: int) -> Sequence[tuple[Any, ...]]:
    """Ask the system's resolver; there is no limit on the time that it takes."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class HostUnavailable(BadPicture):
    """A host can't be found or reached, or it failed. A later attempt may succeed."""


class Resolver:
    """Looks up names, a bounded number at a time and for each site.

    A look-up can't be cancelled, and a name server that never answers blocks its thread for half a minute. So the
    threads are neither those of the event loop's own look-ups nor awaited when the process ends.

    Args:
        lookup: replaces the system's resolver in tests.
    """

    def __init__(self, threads: int, per_site: int, *, allow_private: bool, lookup: Lookup = look_up) -> None:
        self._slots = Slots(threads, per_site)
        self._allow_private = allow_private
        self._lookup = lookup

    async def resolve(self, target: Target) -> str:
        """One address to connect to.

        Raises:
            BadPicture: the host does not exist, or one of its addresses is not public.
            HostUnavailable: its name server does not answer.
            HostBusy: too many hosts are being looked up, in all or of the same site.
        """
        addresses = [target.host] if target.is_address else await self._addresses(target)
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise BadPicture("private_address: the URL leads to an address that is not public")
        return addresses[0]

    async def _addresses(self, target: Target) -> list[str]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[tuple[Any, ...]]] = loop.create_future()
        self._slots.acquire(target.site)

        def done(settle: Callable[[Any], None], outcome: Any) -> None:
            self._slots.release(target.site)
            if not found.done():
                settle(outcome)

        def look() -> None:
            settled: tuple[Callable[[Any], None], Any]
            try:
                settled = found.set_result, self._lookup(self._name(target), target.port)
            except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                settled = found.set_exception, error
            # The loop may have been closed meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done, *settled)

        # A daemon, so that the process can end while a name server does not answer.
        threading.Thread(target=look, name="resolve-picture-host", daemon=True).start()
        try:
            entries = await found
        except (OSError, ValueError) as error:
            temporary = isinstance(error, OSError) and error.errno not in _NO_SUCH_NAME
            raise (HostUnavailable if temporary else BadPicture)(f"unresolved: {target.host} has no address") from None
        if not entries:
            raise BadPicture(f"unresolved: {target.host} has no address")
        return [str(entry[4][0]) for entry in entries]

    def _name(self, target: Target) -> bytes:
        """The name to look up. A dot at its end keeps the system from appending its own search domains."""
        name = target.host
        if not self._allow_private and "." in name:
            name += "."
        return name.encode("ascii")
