"""Which hosts a connection may lead to. No I/O."""

import ipaddress
import re
from collections.abc import Iterable

__all__ = ["host_matches", "is_remote_address", "parse_host_pattern"]

_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def parse_host_pattern(pattern: str) -> str:
    """A pattern in its one spelling. Raises ValueError that says what can be written.

    `*.` stands for one label or more before a name. A wildcard elsewhere is none: `10.1.*` would also match the name
    10.1.example.com, which leads anywhere. Addresses are matched by networks, and by nothing else.
    """
    folded = pattern.strip().lower().removesuffix(".")
    try:
        return str(ipaddress.ip_network(folded))
    except ValueError:
        pass
    if not _NAME.fullmatch(folded) or re.fullmatch(r"[0-9.]+", folded):
        raise ValueError("it is not a host name, *. and a name, or a network such as 10.1.0.0/16")
    return folded


def host_matches(host: str, patterns: Iterable[str]) -> bool:
    """Whether a host, be it a name or an address, is one of those that the patterns (of host_pattern) mean."""
    address = _address(host)
    if address is not None:
        return any(address in network for network in map(_network, patterns) if network is not None)
    name = host.lower().removesuffix(".")
    names = [pattern for pattern in patterns if _network(pattern) is None]
    return host.isascii() and any(
        name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:]) and name != pattern[1:])
        for pattern in names
    )


def is_remote_address(address: str) -> bool:
    """Whether an IP address is neither loopback nor link-local, where machines keep what is only for themselves (the
    metadata service of a cloud among it), nor one that stands for any or several.
    """
    ours = _address(address)
    return ours is not None and not (ours.is_loopback or ours.is_link_local or ours.is_unspecified or ours.is_multicast)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _network(pattern: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(pattern)
    except ValueError:
        return None
