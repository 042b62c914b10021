"""A misspelt queue is as empty as one without jobs: `probe` and `explain` show what queues there are."""

import json
import time
from collections.abc import AsyncIterator

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


@pytest.fixture
async def patient(server: Server) -> AsyncIterator[RunningScaler]:
    """A scaler whose bound is longer than the time after which it believes that a queue is empty."""
    async with running_scaler(server, scaler={"bound_seconds": 10}) as running:
        yield running


async def doubt_of(scaler: RunningScaler, metadata: dict[str, str]) -> str:
    """Return the doubt that `probe` shows about a queue; empty if there is none."""
    call = scaler.keda.stub.IsActive(reference(metadata), metadata=(("triggerfish-probe", "1"),))
    assert (await call).result is False
    doubts = [value.decode() for key, value in await call.trailing_metadata() if key == "triggerfish-doubt-bin"]
    assert len(doubts) <= 1
    return "".join(doubts)


@pytest.mark.parametrize("name", NAMED)
async def test_a_misspelt_queue(server: Server, patient: RunningScaler, name: str) -> None:
    """The doubt says that no key exists, and names the queues that do."""
    contents = QUEUES[name]
    with server.client() as client:
        contents.fill(client, time.time())
    metadata = {key: value for key, value in contents.metadata.items() if key in ("type", "prefix", "acksLate")}
    doubt = await doubt_of(patient, {**metadata, "queue": "emial"})
    assert "'emial' exists" in doubt
    assert f"'{NAMED[name]}'" in doubt


async def test_the_commands_show_it(server: Server, patient: RunningScaler) -> None:
    """Both commands print it, and have it in their JSON."""
    with server.client() as client:
        QUEUES["Celery"].fill(client, time.time())
    options = ["-m", "type=CeleryQueue", "-m", "acksLate=true", "-m", "queue=emial"]
    explained = await triggerfish("explain", *options, "--connection", server.address)
    probed = await triggerfish("probe", address_of(patient), *options, "--json")
    as_json = await triggerfish("explain", *options, "--connection", server.address, "--json")
    active = json.loads(probed.output)["triggers"][0]["calls"][2]
    doubt = json.loads(as_json.output)["triggers"][0]["doubt"]
    for text in (explained.output, active["seen"], doubt):
        assert "'emial' exists" in text
        assert "'mails'" in text
    assert explained.code == probed.code == as_json.code == 0


@pytest.mark.parametrize("name", ["RQ", "asynq", "BullMQ 6", "Celery"])
async def test_an_empty_queue_that_is_known(server: Server, patient: RunningScaler, name: str) -> None:
    """A queue that has no jobs now, but is in the library's own list, is not doubted."""
    contents = QUEUES[name]
    known = {"rq:queues", "asynq:queues", "bull:mail:meta", "_kombu.binding.mails"}
    with server.client() as client:
        contents.fill(client, time.time())
        for key in set(client.keys()) - known:
            client.delete(key)
    assert await doubt_of(patient, {**contents.metadata, "queue": NAMED[name]}) == ""


async def test_long_names_are_cut(server: Server, scaler: RunningScaler) -> None:
    """Names of any length fit into what gRPC transports."""
    with server.client() as client:
        client.sadd("rq:queues", *(f"rq:queue:{number}{'x' * 10_000}" for number in range(30)))
    doubt = await doubt_of(scaler, {"type": "RQQueue", "queue": "é" * 5_000})
    assert "and 10 more" in doubt
    assert len(doubt) < 2_500


async def test_not_all_keys_are_searched(server: Server, scaler: RunningScaler) -> None:
    """It is not stated that there is no other queue if some keys were not looked at."""
    with server.client() as client:
        client.mset({f"other{number}": "" for number in range(100_000)})
    doubt = await doubt_of(scaler, {"type": "BullMQQueue", "queue": "emial"})
    assert "misspelt" in doubt
    assert "any other queue" not in doubt


async def test_queues_of_celery_itself_are_no_names(server: Server, scaler: RunningScaler) -> None:
    """Queues of events and remote control are not those of tasks. Names come after `sep` in bindings."""
    with server.client() as client:
        client.sadd("_kombu.binding.mails", "mails::mails")
        client.sadd("_kombu.binding.celeryev", "worker.#:x:celeryev.29b7")
        client.sadd("_kombu.binding.celery.pidbox", "::mails@vm.celery.pidbox")
    metadata = {"type": "CeleryQueue", "queue": "emial", "sep": ":", "acksLate": "true"}
    assert (await doubt_of(scaler, metadata)).endswith("exists. Celery has queues 'mails' there")


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
