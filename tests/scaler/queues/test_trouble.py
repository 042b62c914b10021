"""What is not known about a queue is an error and never 0."""

import time

import grpc
import pytest

from scaler.triggers.metadata import read_metadata
from tests.scaler.queues.contents import QUEUES
from tests.support.running_scaler import RunningScaler, failure, running_scaler
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

RQ = {"type": "RQQueue", "queue": "mail", "messagesPerWorker": "1"}
BULL = {"type": "BullMQQueue", "queue": "mail", "messagesPerWorker": "1"}


@pytest.mark.parametrize(
    ("metadata", "key"),
    [
        (RQ, "rq:queue:mail"),
        (RQ, "rq:queue:mail:intermediate"),
        (RQ, "rq:scheduled:mail"),
        (RQ, "rq:wip:mail"),
        (BULL, "bull:mail:meta"),
        ({"type": "ArqQueue"}, "arq:queue"),
        ({"type": "DramatiqQueue"}, "dramatiq:default.msgs"),
    ],
)
async def test_a_key_of_another_type_is_an_error(
    server: Server, scaler: RunningScaler, metadata: dict[str, str], key: str
) -> None:
    """The error names the key, and the other triggers of this Redis are measured."""
    with server.client() as client:
        client.set(key, "text")
    with failure(grpc.StatusCode.UNAVAILABLE, repr(key), "WRONGTYPE"):
        await scaler.keda.target(metadata)
    assert await scaler.keda.target({"type": "SaqQueue"}) == 0


@pytest.mark.parametrize("version", ["bullmq:7.0.0", "bullmq-pro:7.9.1", "nonsense", "bullmq:x"])
async def test_an_unknown_version_of_bullmq_is_an_error(server: Server, scaler: RunningScaler, version: str) -> None:
    """What a later release keeps where is not known, so its queue is not empty."""
    with server.client() as client:
        client.hset("bull:mail:meta", "version", version)
    with failure(grpc.StatusCode.UNAVAILABLE, "bull:mail:meta", version, "not known"):
        await scaler.keda.target(BULL)


@pytest.mark.parametrize("name", QUEUES)
async def test_a_denied_key_is_an_error(server: Server, name: str) -> None:
    """A user that may not read one of the keys gets an error that names the keys and the reference."""
    contents = QUEUES[name]
    measured = read_metadata(contents.metadata).measured
    assert measured is not None
    with server.client() as client:
        contents.fill(client, time.time())
        for number, denied in enumerate(measured.trigger.keys):
            rights = [f"~{key}" for key in measured.trigger.keys if key != denied]
            client.execute_command("ACL", "SETUSER", f"u{number}", "on", "nopass", "resetkeys", *rights, "+@all")
    for number, _ in enumerate(measured.trigger.keys):
        connections = {"shared": f"redis://u{number}:x@127.0.0.1:{server.port}"}
        async with running_scaler(server, connections=connections) as scaler:
            metadata = {**contents.metadata, "connection": "shared"}
            with failure(grpc.StatusCode.UNAVAILABLE, "The reference of queue triggers"):
                await scaler.keda.target(metadata)
            with failure(grpc.StatusCode.UNAVAILABLE):
                await scaler.keda.active(metadata)


async def test_limits_of_a_connection_apply_to_all_keys(server: Server) -> None:
    """A namespace may read a queue only if all its keys have one of the prefixes of the connection."""
    connections = {"shared": {"connection_string": server.address, "key_prefixes": ["rq:"], "namespaces": ["shop"]}}
    async with running_scaler(server, connections=connections, scaler={"trust_network": True}) as scaler:
        assert await scaler.keda.target({**RQ, "connection": "shared"}) == 0
        with failure(grpc.StatusCode.PERMISSION_DENIED, "queue", "bull:mail:delayed"):
            await scaler.keda.target({**BULL, "connection": "shared"})


@pytest.mark.parametrize(
    ("more", "outside"),
    [
        ({"sharedUnacked": "all"}, "/"),
        ({"acksLate": "true"}, "_kombu.binding."),
        ({"acksLate": "true", "sharedUnacked": "all"}, None),
    ],
)
async def test_limits_apply_to_what_celery_needs_besides(
    server: Server, more: dict[str, str], outside: str | None
) -> None:
    """Heartbeats and bindings of other apps are not for a namespace that may not read them."""
    limits = {"connection_string": server.address, "key_prefixes": ["celery", "unacked"]}
    async with running_scaler(server, connections={"shared": limits}, scaler={"trust_network": True}) as scaler:
        with server.client() as client:
            client.lpush("celery", "{}")
        metadata = {"type": "CeleryQueue", "connection": "shared", "messagesPerWorker": "1", **more}
        if outside is None:
            assert await scaler.keda.target(metadata) == 1
        else:
            with failure(grpc.StatusCode.PERMISSION_DENIED, "queue", repr(outside)):
                await scaler.keda.target(metadata)


async def test_names_with_glob_characters_are_literal(server: Server, scaler: RunningScaler) -> None:
    """A pattern among the names matches nothing but itself."""
    with server.client() as client:
        client.rpush("rq:queue:mail", "a")
        client.rpush("rq:queue:m*", "a", "b", "c")
    assert await scaler.keda.target({**RQ, "queue": "m*"}) == 3
    assert await scaler.keda.target({**RQ, "queue": "?ail"}) == 0
