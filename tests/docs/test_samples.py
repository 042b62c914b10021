"""Azure's samples in Python, run against a real server."""

import logging
from pathlib import Path

import pytest
import redis.asyncio

from listeners.functions.loading import load_app
from tests.docs.blocks import DOCS, named_files
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

SAMPLES = DOCS / "how-to" / "azure-samples.md"
NAMES = {"pubsub_trigger", "keyspace_trigger", "keyevent_trigger", "list_trigger", "stream_trigger"}


@pytest.mark.releases("valkey-9.1", "redis-7.0")
async def test_the_samples(
    server: Server,
    client: redis.asyncio.Redis,
    run_host: RunHost,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each of the five functions logs the message of its trigger, in Azure's format."""
    source = named_files(SAMPLES)["samples.py"].replace("127.0.0.1:6379", server.address)
    (tmp_path / "samples.py").write_text(source)
    app = load_app(str(tmp_path / "samples.py"))
    assert app.functions.keys() == NAMES
    await client.config_set("notify-keyspace-events", "KEA")
    async with run_host(app):
        await eventually(lambda: _subscribed(client))
        await client.publish("channel", "hello")
        await client.set("myKey", "value")
        await client.delete("myKey")
        await client.rpush("listTest", "element")
        await client.xadd("streamTest", {"name": "value"})
        await eventually(lambda: expected() <= logged(caplog))


async def _subscribed(client: redis.asyncio.Redis) -> bool:
    channels = ("channel", "__keyspace@0__:myKey", "__keyevent@0__:del")
    counts = await client.pubsub_numsub(*channels)
    return all(count == 1 for _, count in counts)


def logged(caplog: pytest.LogCaptureFixture) -> set[str]:
    """Return the messages that the functions have logged."""
    return {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}


def expected() -> set[str]:
    """Return the messages that the functions must log."""
    return {
        '{"Trigger":"channel","Message":"hello"}',
        '{"Trigger":"__keyspace@0__:myKey","Message":"set"}',
        '{"Trigger":"__keyspace@0__:myKey","Message":"del"}',
        '{"Trigger":"__keyevent@0__:del","Message":"myKey"}',
        '{"Trigger":"listTest","Message":"element"}',
        '{"Trigger":"streamTest","Message":"{\\"name\\":\\"value\\"}"}',
    }
