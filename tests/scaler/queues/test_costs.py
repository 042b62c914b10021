"""What measuring queues costs Redis: commands for each, and round trips that all share."""

import asyncio
import time

import pytest

from listeners.redis.client import Client
from scaler.measuring.queries import commands_per_sample
from scaler.triggers.metadata import read_metadata
from tests.scaler.queues.contents import QUEUES
from tests.support.measuring import measure_now
from tests.support.running_scaler import running_scaler
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

TRIGGERS = 1_000
#: Ten are enough for five keys of each trigger. On a busy machine, requests arrive over a longer time.
MAX_ROUNDS = 250
#: The number of commands in scripts of these depends on what is in their keys.
VARYING = ("asynq", "dramatiq", "Sidekiq", "Sidekiq Pro")


@pytest.mark.parametrize("name", [name for name in QUEUES if name not in VARYING])
async def test_the_budget_knows_the_commands_of_a_sample(server: Server, ours: Client, name: str) -> None:
    """Redis runs as many commands for a sample as the budget of pushed activation reckons with."""
    contents = QUEUES[name]
    measured = read_metadata(contents.metadata).measured
    assert measured is not None
    info = await ours.server()
    with server.client() as client:
        contents.fill(client, time.time())
        await measure_now(ours, [measured], server=info)  # caches scripts
        client.config_resetstat()
        await measure_now(ours, [measured], server=info)
        stats = client.info("commandstats")
    run = sum(int(values["calls"]) for command, values in stats.items() if "config" not in command)
    assert run == commands_per_sample(measured)


async def test_many_triggers_share_round_trips(server: Server) -> None:
    """A thousand triggers that are requested together are measured in few rounds."""
    queues = [{"type": "BullMQQueue", "queue": f"q{number}"} for number in range(TRIGGERS)]
    async with running_scaler(server, scaler={"bound_seconds": 30}) as scaler:  # which a busy machine may need
        before = await scaler.rounds()
        assert await asyncio.gather(*map(scaler.keda.target, queues)) == [0] * TRIGGERS
        assert await scaler.rounds() - before <= MAX_ROUNDS
