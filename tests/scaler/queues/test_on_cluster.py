"""Queues on a cluster: their keys may be in different slots, and so on different nodes."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from listeners.redis.server_info import ServerInfo
from scaler.measuring.queues.reading import QueueReading
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.metadata import read_metadata
from tests.scaler.queues.contents import QUEUES
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.support.running_scaler import running_scaler


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(RELEASES["valkey-9.1"]) as running:
        yield running


async def test_all_keys_count_wherever_they_are(cluster: Cluster) -> None:
    """The parts of a queue are read from the nodes that have them, and Celery's held messages are searched there."""
    async with running_scaler(connections={"cluster": cluster.address}) as scaler:
        for name, contents in QUEUES.items():
            if "Sidekiq" in name:  # does not work on clusters
                continue
            with contextlib.closing(cluster.client()) as client:
                client.flushall()
                contents.fill(client, time.time())
            metadata = {**contents.metadata, "messagesPerWorker": "1", "connection": "cluster", "function": name}
            assert await scaler.keda.target(metadata) == contents.backlog, name
            searching = {**metadata, "sharedUnacked": "queue"}
            if metadata["type"].lower() == "celeryqueue" and "sharedUnacked" not in contents.metadata:
                assert await scaler.keda.target(searching) == contents.backlog


@pytest.mark.parametrize("name", QUEUES)
def test_keys_of_different_slots_are_read_in_the_order_in_which_jobs_move(name: str) -> None:
    """What a job leaves is read before what it enters, so that it is counted twice rather than missed."""
    trigger = read_metadata(QUEUES[name].metadata).trigger
    assert isinstance(trigger, QueueTrigger)
    reading = QueueReading(trigger, 0.0)
    stages = reading.stages(ServerInfo("Valkey", (9, 1)), in_slots=True)
    read_first = [stage[-1][0] for stage in stages]
    keys = list(trigger.keys)
    assert read_first == sorted(read_first, key=keys.index)
    [whole] = QueueReading(trigger, 0.0).stages(ServerInfo("Valkey", (9, 1)), in_slots=False)
    assert {command[1] for command in whole[-1][1] if isinstance(command, tuple)} == set(keys)
