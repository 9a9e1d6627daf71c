"""Where pictures may be fetched from: public addresses only, each checked after it was resolved.

A name may resolve to a private address, or to a public one first and to a private one at the next
look (DNS rebinding). So the address that was checked is the one that is connected to.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from service.errors import BadPicture

_NAT64 = IPv6Network("64:ff9b::/96")


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
    """Whether an address belongs to the public internet, also when it is wrapped in an IPv6 one."""
    parsed = ip_address(address.partition("%")[0])
    return all(one.is_global and not one.is_multicast and not one.is_reserved for one in (parsed, *_wrapped(parsed)))


def _wrapped(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        embedded.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in embedded if one is not None]
