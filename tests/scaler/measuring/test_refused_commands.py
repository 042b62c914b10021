"""Servers that deny or rename commands which have another one in their place."""

from collections.abc import Sequence

import pytest
import redis

from listeners.connections.strings import parse_connection_string
from listeners.functions.triggers import StreamTrigger
from listeners.redis.client import Client
from scaler.measuring.backlog import Backlog
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.servers.catalogue import RELEASES
from tests.support.measuring import measure_now

RENAMED = ("--rename-command", "EVALSHA_RO", "", "--rename-command", "EVAL_RO", "")


@pytest.mark.parametrize("release", ["redis-7.2", "valkey-9.1"])
@pytest.mark.parametrize(
    ("arguments", "denied"),
    [(RENAMED, ()), ((), ("-evalsha_ro", "-eval_ro")), ((), ("-eval_ro",))],
    ids=["renamed", "denied", "source denied"],
)
async def test_read_only_scripts(release: str, arguments: Sequence[str], denied: Sequence[str]) -> None:
    """Without EVALSHA_RO a stream is measured by EVALSHA, as before Redis 7.0; the refusal is remembered."""
    with RELEASES[release].start(*arguments) as server, server.client() as plain:
        plain.execute_command("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", *denied)
        for number in range(1, 11):
            plain.xadd("s", {"f": "v"}, id=f"{number}-0")
        plain.xgroup_create("s", "g", "4-0")
        limited = Client(parse_connection_string(f"{server.address},user=limited,password=pw"), "test")
        measured = MeasuredTrigger(StreamTrigger(keys=("s",), consumer_group="g"))
        try:
            for _ in range(3):
                found = (await measure_now(limited, [measured]))[measured]
                assert isinstance(found, Backlog), found
                assert found.entries == 6
            assert refusals(plain) <= 2
        finally:
            await limited.aclose()


def refusals(client: redis.Redis) -> int:
    """Return how many commands the server has refused."""
    errors = client.info("errorstats")
    return sum(counts["count"] for name, counts in errors.items() if name in {"errorstat_NOPERM", "errorstat_ERR"})
