"""Commands and replies of many megabytes."""

from typing import Any

import hiredis
import pytest

from listeners.redis.client import Client
from listeners.redis.shared_connections import LARGE_BYTES, _packed

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("size", [LARGE_BYTES - 1, LARGE_BYTES])
def test_large_commands_are_packed_as_small_ones(size: int) -> None:
    """A large argument changes how a command is packed, but not what is sent."""
    command: tuple[Any, ...] = ("XADD", "käy", "*", b"\xff", b"x" * size, 5, -1.5, b"")
    assert _packed(command) == hiredis.pack_command(command)


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_replies_after_a_large_one(ours: Client) -> None:
    """The connection that received a large reply goes on, within one round trip and after it."""
    large = b"x" * (8 * MEBIBYTE)
    await ours.command("k", "SET", "k", large, doing="setting")
    for _ in range(3):
        commands = [("GET", "k"), ("STRLEN", "k"), ("GET", "k"), ("ECHO", "small")]
        assert await ours.transaction("k", commands, doing="reading") == [large, len(large), large, b"small"]
        assert await ours.command("k", "GET", "k", doing="reading") == large
        assert await ours.command("k", "ECHO", "small", doing="reading") == b"small"
