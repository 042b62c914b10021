"""A real scrape, checked by Prometheus' own tool."""

import asyncio
from asyncio.subprocess import PIPE, STDOUT

import pytest
import redis.asyncio

from tests.support.programs.installed import program
from tests.support.running_scaler import RunningScaler

pytestmark = pytest.mark.releases("valkey-9.1")

HOSTILE = 'a\n# TYPE b counter\nb{x="y"} 1\\ /?#\u202e\U0001f421\r'
LIST = {"type": "redisListTrigger", "keys": "orders", "function": "handle"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments", "function": HOSTILE}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}


async def test_promtool_accepts_a_scrape(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """`promtool check metrics` reports nothing, even with hostile names."""
    await client.rpush("orders", "x")
    await client.xadd("payments", {"a": "b"})
    for metadata in (LIST, STREAM, PUBSUB):
        await scaler.keda.poll(metadata, name=HOSTILE)
    status, text = await scaler.get("/metrics")
    checked = await asyncio.create_subprocess_exec(
        program("promtool"), "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.timeout(30):
        output, _ = await checked.communicate(text.encode())
    assert (status, checked.returncode, output.decode()) == (200, 0, "")
