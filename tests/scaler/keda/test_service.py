"""Answers to KEDA's polls, over real gRPC."""

from typing import Any

import pytest
import redis.asyncio
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.servers.catalogue import RELEASES
from tests.support.running_scaler import RunningScaler, failure, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

ONE = ("valkey-9.1",)
LIST = {"type": "redisListTrigger", "keys": "orders"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments", "consumerGroup": "billing"}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}
#: What KEDA adds to all metadata.
KEDA = {"scalerAddress": "triggerfish-scaler.triggerfish.svc:6000", "enableTLS": "false"}


@pytest.mark.releases(*ONE)
async def test_a_poll_of_a_list(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """A list has one spec with target 1, and one value: the number of instances for its length."""
    await client.rpush("orders", *range(101))
    poll = await scaler.keda.poll({**LIST, **KEDA})
    assert (poll.spec.targetSize, poll.spec.targetSizeFloat) == (1, 1.0)
    assert (poll.value.metricValue, poll.value.metricValueFloat) == (2, 2.0)
    assert poll.value.metricName == poll.spec.metricName
    assert poll.active


@pytest.mark.releases(*ONE)
async def test_a_poll_of_a_stream(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """A stream has one spec with target 1, and one value: the number of instances for pending and lag."""
    for number in range(21):
        await client.xadd("payments", {"n": number})
    await client.xgroup_create("payments", "billing", id="0")
    await client.xreadgroup("billing", "reader", {"payments": ">"}, count=5)
    poll = await scaler.keda.poll({**STREAM, **KEDA, "messagesPerWorker": "10"})
    assert (poll.spec.targetSize, poll.spec.targetSizeFloat) == (1, 1.0)
    assert (poll.value.metricValue, poll.value.metricValueFloat) == (3, 3.0)
    assert poll.active


@pytest.mark.releases(*ONE)
async def test_a_poll_of_an_empty_key(scaler: RunningScaler) -> None:
    """A key that does not exist has target 0 and is inactive."""
    for metadata in (LIST, STREAM):
        poll = await scaler.keda.poll(metadata)
        assert (poll.value.metricValue, poll.value.metricValueFloat, poll.active) == (0, 0.0, False)


@pytest.mark.releases(*ONE)
async def test_pubsub_is_always_one(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """A pub/sub trigger has target 1 and is active, with or without traffic."""
    for published in (0, 300):
        for number in range(published):
            await client.publish("prices.eur", number)
        poll = await scaler.keda.poll({**PUBSUB, **KEDA})
        assert (poll.value.metricValue, poll.value.metricValueFloat, poll.active) == (1, 1.0, True)


@pytest.mark.releases(*RELEASES)
@pytest.mark.parametrize(("entries", "target"), [(0, 0), (1, 1), (100, 10)])
async def test_no_group_yet(scaler: RunningScaler, client: redis.asyncio.Redis, entries: int, target: int) -> None:
    """A list, or a stream without a group, with 0, 1 or 100 entries at 10 per worker has target 0, 1 or 10."""
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(entries):
            pipeline.rpush("orders", number)
            pipeline.xadd("payments", {"n": number})
        await pipeline.execute()
    for metadata in (LIST, STREAM):
        poll = await scaler.keda.poll({**metadata, "messagesPerWorker": "10"})
        assert (poll.value.metricValue, poll.active) == (target, entries > 0)


@pytest.mark.releases(*ONE)
@pytest.mark.parametrize(("backlog", "active"), [(4, False), (5, False), (6, True)])
async def test_activation_is_strictly_above(
    scaler: RunningScaler, client: redis.asyncio.Redis, backlog: int, active: bool
) -> None:
    """A trigger is active if its backlog is above activationMessages, and its value does not depend on that."""
    await client.rpush("orders", *range(backlog))
    poll = await scaler.keda.poll({**LIST, "activationMessages": "5", "messagesPerWorker": "1"})
    assert (poll.value.metricValue, poll.active) == (backlog, active)


@pytest.mark.releases(*ONE)
async def test_max_instances_caps_the_value(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """The value is never above maxInstances."""
    await client.rpush("orders", *range(50))
    assert await scaler.keda.target({**LIST, "messagesPerWorker": "1", "maxInstances": "7"}) == 7
    assert await scaler.keda.target({**LIST, "messagesPerWorker": "10", "maxInstances": "7"}, name="other") == 5


@pytest.mark.releases(*ONE)
async def test_metric_names_in_any_case(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """The scaler's metric names are accepted in any case, and returned as they were requested."""
    await client.rpush("orders", "x")
    name = (await scaler.keda.spec(LIST)).metricName
    for spelling in (name, name.upper(), name.title(), "TriggerFish-made-by-an-older-version"):
        value = await scaler.keda.value(LIST, spelling)
        assert (value.metricName, value.metricValue) == (spelling, 1)


@pytest.mark.releases(*ONE)
async def test_two_triggers_of_one_scaledobject(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """Triggers of one ScaledObject that differ only in a key have different metric names and their own values."""
    await client.rpush("orders", "x")
    one, other = await scaler.keda.poll(LIST), await scaler.keda.poll({**LIST, "keys": "returns"})
    assert one.spec.metricName != other.spec.metricName
    assert (one.value.metricValue, other.value.metricValue) == (1, 0)


@pytest.mark.releases(*ONE)
async def test_unknown_metric_name(scaler: RunningScaler) -> None:
    """An unknown metric name is NOT_FOUND, with the name and the fix."""
    with failure(StatusCode.NOT_FOUND, "unknown metricName", "'s0-redis-orders'", "GetMetricSpec"):
        await scaler.keda.value(LIST, "s0-redis-orders")


BAD_METADATA = {
    "value": ({**LIST, "messagesPerWorker": "0"}, ("messagesPerWorker", "'0'", "greater than or equal to 1")),
    "misspelt": ({**LIST, "messagesPerWorkr": "5"}, ("messagesPerWorkr", "no such option", "messagesPerWorker")),
    "no type": ({"keys": "orders"}, ("type", "RedisListTrigger, RedisStreamTrigger")),
    "too long": ({**LIST, "app": "x" * 30_000}, ("app", "20000 characters")),
}


@pytest.mark.releases(*ONE)
@pytest.mark.parametrize("mistake", BAD_METADATA)
async def test_bad_metadata(scaler: RunningScaler, mistake: str) -> None:
    """Bad metadata has a spec, so that KEDA requests a value. Values are INVALID_ARGUMENT, with the field, the value
    and the fix, which KEDA shows as an event of the ScaledObject.
    """
    metadata, words = BAD_METADATA[mistake]
    spec = await scaler.keda.spec(metadata)
    assert spec.metricName.startswith("triggerfish-invalid-")
    assert (spec.targetSize, spec.targetSizeFloat) == (1, 1.0)
    assert spec == await scaler.keda.spec(metadata)
    with failure(StatusCode.INVALID_ARGUMENT, *words):
        await scaler.keda.value(metadata, spec.metricName)
    with failure(StatusCode.INVALID_ARGUMENT, *words):
        await scaler.keda.active(metadata)


@pytest.mark.releases(*ONE)
async def test_the_spec_of_bad_metadata_hides_variables(scaler: RunningScaler) -> None:
    """The name does not depend on values from environment variables, which may be secrets and may change."""
    names = {
        (await scaler.keda.spec({**LIST, "passwordFromEnv": secret, "keys": keys})).metricName
        for secret, keys in (("hunter2", "orders"), ("hunter3", "orders"), ("hunter2", "returns"))
    }
    assert len(names) == 2


@pytest.mark.releases(*ONE)
async def test_bad_metadata_of_a_stream(server: Server) -> None:
    """Streams with bad metadata stay open without a `true`, and end with OK: after an error KEDA doubles its delay."""
    metadata, _ = BAD_METADATA["misspelt"]
    async with (
        running_scaler(server) as scaler,
        scaler.keda.activity(metadata) as activity,
        scaler.keda.specs(metadata) as specs,
    ):
        await eventually(lambda: specs.received)
        await activity.call.initial_metadata()
        assert specs.received[0].metricSpecs[0] == await scaler.keda.spec(metadata)
        assert (activity.call.done(), specs.call.done()) == (False, False)
        scaler.server.stop()
        assert (await activity.code(), await specs.code()) == (StatusCode.OK, StatusCode.OK)
        assert activity.received == []


@pytest.mark.releases(*ONE)
async def test_unknown_connection(scaler: RunningScaler) -> None:
    """A connection that is not in the settings is FAILED_PRECONDITION with the fix, but still has a spec."""
    metadata = {**LIST, "connection": "queue"}
    for call in (scaler.keda.target, scaler.keda.active):
        with failure(StatusCode.FAILED_PRECONDITION, "'queue'", "TRIGGERFISH_CONNECTIONS__QUEUE"):
            await call(metadata)
    assert (await scaler.keda.spec(metadata)).targetSize == 1


@pytest.mark.releases(*ONE)
async def test_connection_strings_are_refused(scaler: RunningScaler, server: Server) -> None:
    """A connection string in metadata is PERMISSION_DENIED and is not shown, but still has a spec."""
    metadata = {**LIST, "connectionStringFromEnv": f"{server.address},password=hunter2"}
    for call in (scaler.keda.target, scaler.keda.active):
        with failure(StatusCode.PERMISSION_DENIED, "connectionString", "`connection`") as caught:
            await call(metadata)
        assert "hunter2" not in caught.details
    assert (await scaler.keda.spec(metadata)).targetSize == 1


@pytest.mark.releases(*ONE)
async def test_connection_strings_are_refused_in_streams(server: Server, client: redis.asyncio.Redis) -> None:
    """A stream with a connection string in its metadata stays open without a `true`, and ends with OK."""
    await client.rpush("orders", "x")
    async with (
        running_scaler(server) as scaler,
        scaler.keda.activity({**LIST, "connectionString": server.address}) as stream,
    ):
        await stream.call.initial_metadata()
        scaler.server.stop()
        assert await stream.code() == StatusCode.OK
        assert stream.received == []


@pytest.mark.releases(*ONE)
async def test_namespaces(server: Server, client: redis.asyncio.Redis) -> None:
    """A connection that is limited to namespaces is PERMISSION_DENIED for others, with the setting to change."""
    await client.rpush("orders", "x")
    connections = {"Cache": {"connection_string": server.address, "namespaces": ["shop", "billing"]}}
    metadata = {**LIST, "connection": "cache"}
    async with running_scaler(server, connections=connections, scaler={"trust_network": True}) as running:
        assert await running.keda.target(metadata, namespace="billing") == 1
        for call in (running.keda.target, running.keda.active):
            for namespace in ("other", "", "SHOP"):
                with failure(StatusCode.PERMISSION_DENIED, f"'{namespace}'", "`namespaces`"):
                    await call(metadata, namespace=namespace)
        assert (await running.keda.spec(metadata, namespace="other")).targetSize == 1
        assert await running.keda.target(LIST, namespace="other") == 1


@pytest.mark.releases(*ONE)
async def test_health_service(scaler: RunningScaler) -> None:
    """The standard health service reports the whole server and the external scaler as serving."""
    stub: Any = health_pb2_grpc.HealthStub(scaler.keda.channel)
    for service in ("", "externalscaler.ExternalScaler"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.releases(*ONE)
async def test_reflection_service(scaler: RunningScaler) -> None:
    """The reflection service lists the external scaler, so that grpcurl works without a .proto file."""
    channel: Any = scaler.keda.channel  # the published types have only blocking channels
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await anext(aiter(call))
    names = {service.name for service in answer.list_services_response.service}
    assert {"externalscaler.ExternalScaler", "grpc.health.v1.Health"} <= names
