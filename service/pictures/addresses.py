"""The addresses that pictures may be fetched from: those of the public internet.

The refused ranges are those of IANA's special-purpose registries for IPv4 and IPv6 (2025), including the ranges marked
globally reachable, because no web server has an address in them. The standard library's `is_global` implements an older
version of the registries, which differs between Python versions.
"""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

REFUSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; metadata of some clouds
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the Azure host, as seen from a virtual machine
        "169.254.0.0/16",  # link-local; metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved; broadcast
    )
)
UNICAST_V6 = IPv6Network("2000::/3")
"""All allocated global unicast addresses. Outside are loopback, v4-compatible, NAT64 (`64:ff9b::/96`,
`64:ff9b:1::/48`), discard-only, SRv6 (`5f00::/16`), unique local, link-local, site-local (`fec0::/10`), multicast."""
REFUSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments: Teredo, benchmarks, ORCHID, DRIP
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def is_public(address: str) -> bool:
    """Whether an address in the form that `getaddrinfo` returns belongs to the public internet."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return parsed in UNICAST_V6 and not any(parsed in network for network in REFUSED_V6)
        # The system connects to the IPv4 address that it contains.
        parsed = parsed.ipv4_mapped
    return not any(parsed in network for network in REFUSED_V4)
