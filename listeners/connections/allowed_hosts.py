"""Patterns for the hosts that a connection may lead to. No I/O."""

import ipaddress
import re
from collections.abc import Iterable

__all__ = ["host_matches", "is_remote_address", "parse_host_pattern"]

_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def parse_host_pattern(pattern: str) -> str:
    """Return a pattern in canonical form. Raises ValueError with the accepted forms.

    `*.` stands for one or more labels before a name. A wildcard anywhere else is refused: `10.1.*` would also match the
    name 10.1.example.com, which may lead anywhere. Only networks match addresses.
    """
    folded = pattern.strip().lower().removesuffix(".")
    try:
        return str(ipaddress.ip_network(folded))
    except ValueError:
        pass
    if not _NAME.fullmatch(folded) or re.fullmatch(r"[0-9.]+", folded):
        raise ValueError("not a host name, *. followed by a host name, or a network such as 10.1.0.0/16")
    return folded


def host_matches(host: str, patterns: Iterable[str]) -> bool:
    """Return whether a host, a name or an address, matches one of the patterns (see `parse_host_pattern`)."""
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
    """Return whether an IP address is neither loopback nor link-local, where machines keep services that are only for
    themselves, such as a cloud's metadata service, nor unspecified or multicast.
    """
    parsed = _address(address)
    return parsed is not None and not (
        parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast
    )


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
