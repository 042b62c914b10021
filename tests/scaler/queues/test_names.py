"""A misspelt queue is as empty as one without jobs: `probe` and `explain` show what queues there are."""

import json
import time

import grpc
import pytest

from tests.scaler.queues.contents import QUEUES
from tests.support.running_scaler import RunningScaler, reference, running_scaler
from tests.triggerfish.cli.test_probe import address_of, triggerfish
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

#: Queues whose names can be read while they have jobs, and what they are then.
NAMED = {
    "BullMQ 6": "mail",
    "RQ": "mail",
    "asynq": "mail",
    "SAQ": "default",
    "dramatiq": "default",
    "Laravel": "default",
    "Celery": "mails",
}


@pytest.mark.parametrize("name", NAMED)
async def test_a_misspelt_queue(server: Server, name: str) -> None:
    """Both commands print that no key exists, and the names of the queues."""
    contents = QUEUES[name]
    with server.client() as client:
        contents.fill(client, time.time())
    metadata = {key: value for key, value in contents.metadata.items() if key in ("type", "prefix", "acksLate")}
    options = [part for key, value in {**metadata, "queue": "emial"}.items() for part in ("-m", f"{key}={value}")]
    explained = await triggerfish("explain", *options, "--connection", server.address)
    async with running_scaler(server, scaler={"bound_seconds": 10}) as scaler:  # 0 of some is known after a second
        probed = await triggerfish("probe", address_of(scaler), *options, "--json")
    active = json.loads(probed.output)["triggers"][0]["calls"][2]
    for text in (explained.output, active["seen"]):
        assert "'emial' exists" in text
        assert f"'{NAMED[name]}'" in text
    assert explained.code == probed.code == 0
    as_json = await triggerfish("explain", *options, "--connection", server.address, "--json")
    assert "'emial'" in json.loads(as_json.output)["triggers"][0]["doubt"]


@pytest.mark.parametrize("name", ["RQ", "asynq", "BullMQ 6", "Celery"])
async def test_an_empty_queue_that_is_known(server: Server, name: str) -> None:
    """A queue that has no jobs now, but is in the library's own list, is not doubted."""
    contents = QUEUES[name]
    known = {"rq:queues", "asynq:queues", "bull:mail:meta", "_kombu.binding.mails"}
    with server.client() as client:
        contents.fill(client, time.time())
        for key in set(client.keys()) - known:
            client.delete(key)
    queue = {**contents.metadata, "queue": NAMED[name]}
    options = [part for key, value in queue.items() for part in ("-m", f"{key}={value}")]
    explained = await triggerfish("explain", *options, "--connection", server.address)
    assert explained.code == 0
    assert "exists" not in explained.output


async def test_names_are_only_for_probe(server: Server, scaler: RunningScaler) -> None:
    """KEDA's own calls get no names, and cost no search."""
    with server.client() as client:
        client.config_resetstat()
    call = scaler.keda.stub.IsActive(reference({"type": "BullMQQueue", "queue": "emial"}))
    assert (await call).result is False
    assert not [key for key, _ in await call.trailing_metadata() or () if key.startswith("triggerfish")]
    with server.client() as client:
        assert "cmdstat_scan" not in client.info("commandstats")


async def test_a_namespace_with_limits_sees_no_names(server: Server) -> None:
    """Names of queues are not for those who may not read all keys."""
    with server.client() as client:
        QUEUES["RQ"].fill(client, time.time())
        client.sadd("rq:queues", "rq:queue:secret")
    connections = {"shared": {"connection_string": server.address, "key_prefixes": ["rq:"]}}
    async with running_scaler(server, connections=connections, scaler={"trust_network": True}) as scaler:
        metadata = {"type": "RQQueue", "queue": "emial", "connection": "shared"}
        call = scaler.keda.stub.IsActive(reference(metadata), metadata=(("triggerfish-probe", "1"),))
        assert (await call).result is False
        doubts = [value for key, value in await call.trailing_metadata() if key == "triggerfish-doubt-bin"]
        assert len(doubts) == 1
        assert b"'emial'" in doubts[0]
        assert b"secret" not in doubts[0]
        assert await call.code() == grpc.StatusCode.OK
