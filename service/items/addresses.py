"""Where pictures may be fetched from: public addresses only, each checked after it was resolved.

A name may resolve to a private address, or to a public one first and to a private one at the next
look (DNS rebinding). So the address that was checked is the one that is connected to.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

from service.errors import BadPicture

_PROTOCOLS = IPv4Network("192.0.0.0/24")
"""IETF protocol assignments (RFC 6890); older Pythons take most of them for global."""


async def resolve(host: str, port: int, *, allow_private: bool) -> str:
    """One address of `host` to connect to.

    Raises:
        BadPicture: no such host, or one of its addresses is not public.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise BadPicture(f"unresolved: {host[:253]} has no address") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private and not all(is_public(address) for address in addresses):
        raise BadPicture("private_address: the URL leads to an address that is not public")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet; one that wraps an IPv4 address is judged by that one, too."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv4Address):
        return _is_public_v4(parsed)
    if parsed.ipv4_mapped is not None:
        return _is_public_v4(parsed.ipv4_mapped)
    plain = parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
    return plain and all(_is_public_v4(wrapped) for wrapped in _wrapped(parsed))


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _PROTOCOLS


def _wrapped(address: IPv6Address) -> list[IPv4Address]:
    return [one for one in (address.sixtofour, *(address.teredo or ())) if one is not None]
