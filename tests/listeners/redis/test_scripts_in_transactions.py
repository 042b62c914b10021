"""Scripts beside other commands, in one round trip."""

import pytest
import redis.asyncio
from redis.exceptions import ResponseError

from listeners.redis.client import Client, CommandGroup
from listeners.redis.scripts import ScriptCall, load_script
from triggerfish.testing.server import Server

#: Any script that reads its key.
STATE = load_script("scaler.measuring.scripts", "shared", "state")


@pytest.mark.releases("redis-5.0", "redis-7.0", "valkey-9.1")
async def test_a_script_that_the_server_has_lost_is_sent_again(
    server: Server, client: redis.asyncio.Redis, ours: Client, version: tuple[int, ...]
) -> None:
    """Without the script on the server, each call has its reply, and so have the commands beside it."""
    await client.rpush("q", 1, 2)
    await client.xadd("s", {"f": "v"})
    call = ScriptCall(STATE, ("s",), ("g", 0), read_only=version >= (7,))
    groups: list[CommandGroup] = [("s", [call]), ("q", [("LLEN", "q"), ("LLEN", "other")]), ("s", [call])]
    for _ in range(2):
        await client.script_flush()
        first, lengths, second = await ours.transactions(groups, doing="testing")
        assert first[0][1] == second[0][1] == 1
        assert lengths == [2, 0]


@pytest.mark.releases("redis-7.0")
async def test_a_single_command_costs_no_transaction(server: Server, client: redis.asyncio.Redis, ours: Client) -> None:
    """Single commands are sent without MULTI, and an error is the reply to its own command only."""
    await client.set("text", "x")
    await client.config_resetstat()
    wrong, right = await ours.transactions([("text", [("LLEN", "text")]), ("q", [("LLEN", "q")])], doing="testing")
    assert isinstance(wrong[0], ResponseError)
    assert right == [0]
    assert "cmdstat_multi" not in await client.info("commandstats")
