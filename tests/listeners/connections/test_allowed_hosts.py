"""Host patterns, and addresses that are local to this machine or link."""

import pytest

from listeners.connections.allowed_hosts import host_matches, is_remote_address, parse_host_pattern


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("cache.example", "cache.example", True),
        ("Cache.Example.", "CACHE.example", True),
        ("cache.example", "cache.example.", True),
        ("cache.example", "a.cache.example", False),
        ("cache.example", "cache.example.evil", False),
        ("*.cache.example", "a.cache.example", True),
        ("*.cache.example", "a.b.cache.example", True),
        ("*.cache.example", "cache.example", False),
        ("*.cache.example", ".cache.example", False),
        ("*.cache.example", "acache.example", False),
        ("*.cache.example", "evil⒈cache.example", False),
        ("*.cache.example", "é.cache.example", False),
        ("10.1.0.0/16", "10.1.2.3", True),
        ("10.1.0.0/16", "::ffff:10.1.2.3", True),
        ("10.1.0.0/16", "10.2.2.3", False),
        ("10.1.0.0/16", "10.1.example.com", False),
        ("10.1.0.0/16", "10.1", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("fd00::/8", "10.1.2.3", False),
        ("*.3", "10.1.2.3", False),
    ],
)
def test_matching(pattern: str, host: str, matches: bool) -> None:
    """A name matches itself, `*.` matches any labels before a name, and a network matches addresses but no names."""
    try:
        accepted = (parse_host_pattern(pattern),)
    except ValueError:
        assert not matches
        return
    assert host_matches(host, accepted) == matches
    assert not host_matches(host, ())


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "*",
        "*.",
        "10.1.*",
        "10.*.0.1",
        "cache.*",
        "a*.example",
        "*.*.example",
        "-a.example",
        "a..b",
        "10.1.2",
        "é.b",
    ],
)
def test_invalid_patterns(pattern: str) -> None:
    """A wildcard anywhere but before a whole name is refused, as is an invalid name. The error lists valid forms."""
    with pytest.raises(ValueError, match="a network such as"):
        parse_host_pattern(pattern)


@pytest.mark.parametrize(
    ("address", "remote"),
    [
        ("10.1.2.3", True),
        ("192.0.2.1", True),
        ("fd00::1", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("localhost", False),
    ],
)
def test_remote_addresses(address: str, remote: bool) -> None:
    """Loopback, link-local, unspecified and multicast addresses are not remote, in either notation."""
    assert is_remote_address(address) == remote
