"""A scaler whose Redis fails, and a scaler that gets too many or malformed requests."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Callable
from functools import partial

import grpc
import pytest
import redis.asyncio
from grpc import StatusCode

from scaler.measuring.sampler import GATHER_SECONDS
from tests.chaos.faults.proxy import Proxy
from tests.support.running_scaler import (
    CALL_SECONDS,
    Keda,
    RunningScaler,
    channel_to,
    failure,
    reference,
    running_scaler,
)
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments"}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}
BOUND_SECONDS = 0.5


async def kill(server: Server) -> None:
    """Kill the server, so that its port refuses connections."""
    server.process.kill()
    server.process.wait()


async def hang(server: Server) -> None:
    """Suspend the server: it accepts connections and commands, but does not respond."""
    server.process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("trouble", [kill, hang])
@pytest.mark.parametrize("called_before", [False, True])
async def test_redis_is_down_or_hangs(
    own_server: Server, trouble: Callable[[Server], object], called_before: bool
) -> None:
    """While Redis is down or hangs, values are UNAVAILABLE within the bound, and the spec and pub/sub still work."""
    async with running_scaler(own_server, scaler={"bound_seconds": BOUND_SECONDS}) as scaler:
        if called_before:
            assert await scaler.keda.target(LIST) == 0
        spec = await scaler.keda.spec(LIST)
        await trouble(own_server)  # type: ignore[misc]
        for metadata in (LIST, STREAM):
            for call in (scaler.keda.target, scaler.keda.active):
                # a sample from just before the trouble may still be cached
                with failure(StatusCode.UNAVAILABLE):
                    await eventually(partial(_raises, call, metadata))
        assert await scaler.keda.spec(LIST) == spec
        poll = await scaler.keda.poll(PUBSUB)
        assert (poll.value.metricValue, poll.active) == (1, True)


async def test_redis_is_slow(server: Server) -> None:
    """If each response is in time but all of them together are not, a value is UNAVAILABLE within the bound."""
    proxy = Proxy(server.port)
    proxy.delay_seconds = 0.3  # in each direction: a response may take 0.8 of the bound
    await proxy.start()
    try:
        async with running_scaler(
            server, connections={"slow": f"127.0.0.1:{proxy.port}"}, scaler={"bound_seconds": 1}
        ) as scaler:
            with failure(StatusCode.UNAVAILABLE, "did not answer within 1 s"):
                await scaler.keda.target({**LIST, "connection": "slow"})
    finally:
        await proxy.stop()


async def _raises(call: Callable[..., object], metadata: dict[str, str]) -> bool:
    await call(metadata)  # type: ignore[misc]
    return False


async def test_redis_comes_back(own_server: Server) -> None:
    """After an outage, calls return the value again without a restart of the scaler."""
    async with running_scaler(own_server, scaler={"bound_seconds": BOUND_SECONDS}) as scaler:
        await kill(own_server)
        with failure(StatusCode.UNAVAILABLE, own_server.address.rpartition(":")[2]):
            await scaler.keda.target(LIST)
        own_server.restart()
        with own_server.client() as client:
            client.rpush("orders", "x")
        assert await eventually(lambda: _value_or_none(scaler, LIST)) == 1


async def test_a_hanging_redis_recovers(own_server: Server) -> None:
    """After Redis hung, calls return the value again."""
    with own_server.client() as client:
        client.rpush("orders", "x")
    async with running_scaler(own_server, scaler={"bound_seconds": BOUND_SECONDS}) as scaler:
        await hang(own_server)
        with failure(StatusCode.UNAVAILABLE):
            await scaler.keda.target(LIST)
        own_server.process.send_signal(signal.SIGCONT)
        assert await eventually(lambda: _value_or_none(scaler, LIST)) == 1


async def _value_or_none(scaler: RunningScaler, metadata: dict[str, str]) -> int | None:
    try:
        return await scaler.keda.target(metadata)
    except grpc.aio.AioRpcError:
        return None


async def test_another_redis_is_not_affected(own_server: Server, server: Server, client: redis.asyncio.Redis) -> None:
    """A Redis that hangs delays only its own triggers."""
    await client.rpush("orders", "x")
    bound = {"bound_seconds": 10}
    async with running_scaler(server, connections={"other": own_server.address}, scaler=bound) as scaler:
        await hang(own_server)
        waiting = asyncio.create_task(scaler.keda.target({**LIST, "connection": "other"}))
        await eventually(lambda: len(list(scaler.server.evaluator.tracked())) == 1)
        for number in range(5):
            assert await scaler.keda.target(LIST, name=f"worker-{number}") == 1
        assert not waiting.done()
        own_server.process.send_signal(signal.SIGCONT)
        await asyncio.gather(waiting, return_exceptions=True)


async def test_another_trigger_is_not_affected(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """A key of the wrong type is UNAVAILABLE with its name, and triggers measured with it get values."""
    await client.set("orders", "text")
    await client.rpush("returns", "x")
    bad, good = await asyncio.gather(
        scaler.keda.target(LIST), scaler.keda.target({**LIST, "keys": "returns"}), return_exceptions=True
    )
    assert isinstance(bad, grpc.aio.AioRpcError)
    assert (bad.code(), "orders" in (bad.details() or "")) == (StatusCode.UNAVAILABLE, True)
    assert good == 1


async def test_a_denied_command(server: Server, client: redis.asyncio.Redis) -> None:
    """A command that the ACL denies is UNAVAILABLE with the reason and without the password, never 0."""
    await client.acl_setuser("narrow", enabled=True, reset=True, passwords=["+hunter2"], keys=["*"], commands=["+llen"])
    connection = f"{server.address},user=narrow,password=hunter2"
    try:
        async with running_scaler(server, connections={"narrow": connection}) as scaler:
            for metadata in (LIST, STREAM):
                with failure(StatusCode.UNAVAILABLE, "permissions") as caught:
                    await scaler.keda.target({**metadata, "connection": "narrow"})
                assert "hunter2" not in caught.details
    finally:
        await client.acl_deluser("narrow")


async def test_a_thousand_polls_at_once(server: Server, client: redis.asyncio.Redis) -> None:
    """When 1,000 ScaledObjects are polled together over 5 connections, one Redis gets few round trips: a handful, plus
    2 in each GATHER_SECONDS that the calls take. The scaler counts the rounds, and Redis counts its reads.
    """
    metadata = [{**LIST, "keys": f"orders-{number}", "messagesPerWorker": "1"} for number in range(1000)]
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(1000):
            pipeline.rpush(f"orders-{number}", *range(number % 5 + 1))
        await pipeline.execute()
    async with running_scaler(server) as scaler, contextlib.AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(channel_to(scaler.server, None)) for _ in range(5)]
        await scaler.keda.target(LIST)  # connects
        rounds = await scaler.rounds()
        await client.config_resetstat()
        kedas = [Keda(channel) for channel in channels]
        began = time.monotonic()
        polls = await asyncio.gather(*(kedas[n % 5].poll(one, name=f"w{n}") for n, one in enumerate(metadata)))
        max_rounds = 5 + 2 * (time.monotonic() - began) / GATHER_SECONDS
        after, commands = await client.info("stats"), await client.info("commandstats")
        assert [poll.value.metricValue for poll in polls] == [number % 5 + 1 for number in range(1000)]
        assert all(poll.active for poll in polls)
        # GetMetrics and IsActive of one poll share a sample, unless this machine was slow in between
        assert 1000 <= commands["cmdstat_llen"]["calls"] <= 2000
        assert await scaler.rounds() - rounds <= max_rounds
        # Each round may be followed by one that arms its keys. Redis reads at most 16 KB at once.
        assert after["total_reads_processed"] <= 3 * max_rounds + after["total_net_input_bytes"] / 16_384


async def test_the_calls_of_one_poll_share_a_sample(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """GetMetrics and IsActive of one poll, and all calls shortly after, use one sample."""
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 60)
    async with running_scaler(server) as scaler:
        await scaler.keda.poll(LIST)
        await asyncio.gather(*(scaler.keda.poll(LIST, name=f"worker-{n}") for n in range(20)))
        assert await scaler.rounds() == 1


async def test_samples_expire_soon(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """A changed value is returned soon, since samples are cached only briefly."""
    assert await scaler.keda.target(LIST) == 0
    await client.rpush("orders", "x")
    await eventually(lambda: _is_one(scaler), seconds=1)


async def _is_one(scaler: RunningScaler) -> bool:
    return await scaler.keda.target(LIST) == 1


@pytest.mark.parametrize("method", ["GetMetricSpec", "GetMetrics", "IsActive"])
async def test_random_bytes_as_a_message(scaler: RunningScaler, client: redis.asyncio.Redis, method: str) -> None:
    """Bytes that are not a valid message get an error status, and the scaler keeps working."""
    chance = random.Random(method)
    raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = scaler.keda.channel.unary_unary(
        f"/externalscaler.ExternalScaler/{method}"
    )
    for length in (1, 7, 100, 10_000):
        with pytest.raises(grpc.aio.AioRpcError):
            await raw(b"\xff" + chance.randbytes(length), timeout=CALL_SECONDS)
    assert await scaler.keda.target(LIST) == 0


async def test_random_bytes_on_the_port(scaler: RunningScaler) -> None:
    """A connection that sends no HTTP/2 is closed, and the scaler keeps working."""
    for data in (random.Random(1).randbytes(4096), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", scaler.server.grpc_port)
        writer.write(data)
        async with asyncio.timeout(CALL_SECONDS):
            await asyncio.gather(reader.read(), return_exceptions=True)
        writer.close()
    assert await scaler.keda.target(LIST) == 0


async def test_huge_metadata(scaler: RunningScaler) -> None:
    """A huge map is refused with a short message, and a larger message is not even read."""
    with failure(StatusCode.INVALID_ARGUMENT, "more than 100 options") as caught:
        await scaler.keda.target({**LIST, **{f"key-{number}": "x" * 10 for number in range(20_000)}})
    assert len(caught.details) <= 1000
    with failure(StatusCode.INVALID_ARGUMENT) as caught:
        await scaler.keda.target({**LIST, "messagesPerWorker": "9" * 500_000})
    assert len(caught.details) <= 1000
    with failure(StatusCode.RESOURCE_EXHAUSTED):
        await scaler.keda.target({**LIST, "app": "x" * 2_000_000})
    assert await scaler.keda.target(LIST) == 0


@pytest.mark.parametrize("key", ["\U0001f421" * 5000, "\n" * 5000, "\x00\x7f", "a\nb"])
async def test_odd_metadata(scaler: RunningScaler, key: str) -> None:
    """A key or value of any characters and any length is refused with INVALID_ARGUMENT, which reaches the client."""
    with failure(StatusCode.INVALID_ARGUMENT, "no such option") as caught:
        await scaler.keda.target({**LIST, key: "1"})
    assert caught.details.isprintable()
    with failure(StatusCode.INVALID_ARGUMENT, "messagesPerWorker"):
        await scaler.keda.target({**LIST, "messagesPerWorker": key})
    with failure(StatusCode.NOT_FOUND):
        await scaler.keda.value(LIST, key)


async def test_odd_names(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """Requests with line breaks, quotes and slashes in names are answered, and leave metrics and JSON readable."""
    await client.rpush("orders", "x")
    odd = 'a\n# TYPE b counter\nb{x="y"} 1\\ / ? # \U0001f421 \x00'
    assert await scaler.keda.target({**LIST, "function": odd, "app": odd}, name=odd, namespace=odd) == 1
    samples = await scaler.samples()
    assert "b" not in samples
    [labels] = samples["triggerfish_trigger_backlog"]
    assert dict(labels)["scaledobject"] == odd
    status, _ = await scaler.get("/api/v1/triggers")
    assert status == 200


async def test_bogus_scaledobjects(scaler: RunningScaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of bogus ScaledObjects get clear errors, and only a bounded number of them is tracked."""
    monkeypatch.setattr("scaler.evaluation.evaluator.MAX_TRACKED", 50)
    good = [{**LIST, "keys": f"k{number}"} for number in range(250)]
    bad = [{**LIST, "keys": f"k{number}", "connection": f"no-{number}"} for number in range(250)]
    assert set(await asyncio.gather(*(scaler.keda.target(one, name=f"g{n}") for n, one in enumerate(good)))) == {0}
    answers = await asyncio.gather(
        *(scaler.keda.target(one, name=f"b{n}") for n, one in enumerate(bad)), return_exceptions=True
    )
    codes = {answer.code() for answer in answers if isinstance(answer, grpc.aio.AioRpcError)}
    assert (len(answers), codes) == (250, {StatusCode.FAILED_PRECONDITION})
    assert len(list(scaler.server.evaluator.tracked())) == 50
    samples = await scaler.samples()
    assert max(len(series) for series in samples.values()) == 50
    assert samples["triggerfish_grpc_requests_total"] == {
        (("code", "OK"), ("method", "GetMetrics")): 250,
        (("code", "FAILED_PRECONDITION"), ("method", "GetMetrics")): 250,
    }


async def test_an_unknown_method(scaler: RunningScaler) -> None:
    """A method that does not exist is UNIMPLEMENTED."""
    raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = scaler.keda.channel.unary_unary(
        "/externalscaler.ExternalScaler/Bogus"
    )
    with failure(StatusCode.UNIMPLEMENTED):
        await raw(reference(LIST).SerializeToString(), timeout=CALL_SECONDS)
