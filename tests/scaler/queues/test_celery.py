"""Celery: messages that workers hold among those of others, and running tasks with early acknowledgement."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import grpc
import pytest
import redis
import redis.asyncio

from listeners.redis.client import Client
from scaler.measuring.backlog import KeySample
from scaler.measuring.queues.unacked import UnackedScans
from scaler.queues.celery import CeleryQueue
from tests.scaler.push.test_tracking import at_rest
from tests.support.running_scaler import RunningScaler, failure, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("redis-6.2", "redis-7.2", "valkey-9.1")

MAILS = {"type": "CeleryQueue", "queue": "mails", "acksLate": "true", "messagesPerWorker": "1"}
BULK = {**MAILS, "queue": "bulk"}
EARLY = {"type": "CeleryQueue", "queue": "mails", "workers": "mails@*", "messagesPerWorker": "1"}


def held(exchange: str, routing_key: str, body: str = "") -> str:
    """Return a message as kombu keeps it while a worker holds it."""
    return json.dumps([{"body": body, "headers": {"task": "send"}}, exchange, routing_key])


async def test_messages_of_other_queues_do_not_count(server: Server, scaler: RunningScaler) -> None:
    """By default all queues share one hash. A message belongs to the queue that its exchange delivers it to."""
    with server.client() as client:
        client.lpush("mails", "{}")
        client.sadd("_kombu.binding.letters", "letter\x06\x16\x06\x16mails", "parcel\x06\x16\x06\x16bulk")
        client.sadd("_kombu.binding.topics", "news.#\x06\x16^news\\..*$\x06\x16bulk")
        messages = [held("", "mails"), held("", "bulk"), held("", "bulk"), held("letters", "letter")]
        messages += [held("letters", "parcel"), held("topics", "news.today"), held("none", "mails", 'a", "b"]')]
        client.hset("unacked", mapping=dict(enumerate(messages)))
    assert await scaler.keda.target(MAILS) == 1 + 3
    assert await scaler.keda.target(BULK) == 4
    assert await scaler.keda.target({**MAILS, "queue": "mails bulk"}) == 1 + 7
    assert await scaler.keda.target({**MAILS, "sharedUnacked": "all"}) == 1 + 7
    assert await scaler.keda.target({**MAILS, "unackedKey": "none"}) == 1


async def test_bindings_have_the_separator_of_the_transport(server: Server, scaler: RunningScaler) -> None:
    """kombu joins bindings with `sep`, too. A message of an exchange with other bindings may be of any queue."""
    with server.client() as client:
        client.sadd("_kombu.binding.letters", "letter::mails", "parcel::bulk")
        client.hset("unacked", "a", held("letters", "letter"))
    assert await scaler.keda.target({**MAILS, "sep": ":"}) == 1
    assert await scaler.keda.target({**BULK, "sep": ":"}) == 0
    assert await scaler.keda.target(BULK) == 1


async def test_a_message_that_cannot_be_read_counts(server: Server, scaler: RunningScaler) -> None:
    """What may be a message of these queues is one."""
    with server.client() as client:
        client.hset("unacked", mapping={"a": "nonsense", "b": '[{}, "", "m\\u00e4ils"]', "c": held("", "bulk")})
    assert await scaler.keda.target(MAILS) == 2


@pytest.mark.releases("valkey-9.1")
async def test_a_hundred_thousand_messages(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search ends after a bounded number of messages. The number is then a lower bound, and never 0."""
    monkeypatch.setattr("scaler.measuring.queues.unacked.MAX_MESSAGES", 20_000)
    monkeypatch.setattr("scaler.measuring.queues.unacked.MAX_SECONDS", 15)
    with server.client() as client:
        for start in range(0, 100_000, 10_000):
            batch = {str(number): held("", "bulk", "x" * 500) for number in range(start, start + 10_000)}
            client.hset("unacked", mapping=batch)
    async with running_scaler(server, scaler={"bound_seconds": 20}) as scaler:
        assert await scaler.keda.target(MAILS) == 1
        status = json.loads((await scaler.get("/api/v1/triggers"))[1])["triggers"][0]
        assert (status["backlog"], status["capped"]) == (1, True)
        target = await scaler.keda.target({**BULK, "maxInstances": "1000000"})
        assert 20_000 <= target < 100_000


@pytest.mark.releases("valkey-9.1")
async def test_results_of_searches_are_dropped(server: Server, ours: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that took little to find is not kept, however many hashes are searched."""
    monkeypatch.setattr("scaler.measuring.queues.unacked.CHEAP_SECONDS", 1_000_000.0)
    scans = UnackedScans(ours)
    with server.client() as client:
        for number in range(20):
            client.hset(f"held{number}", "a", held("", "mails"))
    for number in range(20):
        trigger = CeleryQueue(queue=("mails",), unacked_key=f"held{number}", shared_unacked="queue", acks_late=True)
        sample = await scans.measure(trigger, 1, await ours.server())
        assert isinstance(sample, KeySample)
        assert sample.backlog.in_flight == 1
    assert not scans._kept
    await scans.close()


async def test_many_triggers_share_a_search(server: Server, scaler: RunningScaler) -> None:
    """Triggers that are measured together search the shared hash once."""
    with server.client() as client:
        client.hset("unacked", mapping={str(number): held("", f"q{number}") for number in range(100)})
        client.config_resetstat()
        polls = (scaler.keda.target({**MAILS, "queue": f"q{number}"}) for number in range(100))
        assert await asyncio.gather(*polls) == [1] * 100
        assert 1 <= client.info("commandstats")["cmdstat_hscan"]["calls"] <= 20


def heartbeat(hostname: str, active: object) -> bytes:
    """Return a heartbeat as a worker publishes it."""
    event = {"hostname": hostname, "utcoffset": 0, "pid": 1, "clock": 5, "freq": 2.0, "active": active, "processed": 3}
    body = base64.b64encode(json.dumps(event).encode()).decode()
    properties = {"delivery_mode": 1, "body_encoding": "base64", "delivery_info": {"exchange": "celeryev"}}
    message = {"body": body, "content-encoding": "utf-8", "content-type": "application/json", "properties": properties}
    return json.dumps(message).encode()


@asynccontextmanager
async def beating(client: redis.asyncio.Redis, *messages: bytes, channel: str) -> AsyncIterator[None]:
    """Publish messages all the time."""

    stopped = asyncio.Event()

    async def beat() -> None:
        while not stopped.is_set():
            for message in messages:
                await client.publish(channel, message)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        stopped.set()
        await task


RIGHTS = "The reference of queue triggers lists the commands and keys"
CHANNEL = "/0.celeryev/worker.heartbeat"


async def target_is(scaler: RunningScaler, metadata: dict[str, str], target: int) -> bool:
    """Return whether a trigger has this target; not while it is unknown."""
    try:
        return await scaler.keda.target(metadata) == target
    except grpc.aio.AioRpcError:
        return False


async def test_running_tasks_count_by_heartbeats(
    server: Server, scaler: RunningScaler, client: redis.asyncio.Redis
) -> None:
    """Tasks of the workers with matching names are added to what is in keys. What is no heartbeat is ignored."""
    beats = [heartbeat("mails@a", 2), heartbeat("mails@b", 1), heartbeat("bulk@a", 50)]
    nonsense = [b"x", b"{}", heartbeat("mails@c", "many"), heartbeat("mails@d", -5), json.dumps({"body": "%"}).encode()]
    async with beating(client, *beats, *nonsense, channel=CHANNEL):
        await eventually(partial(target_is, scaler, EARLY, 3))
        await client.lpush("mails", "{}")
        await client.hset("unacked", mapping={"a": held("", "mails"), "b": held("", "bulk")})
        await eventually(partial(target_is, scaler, EARLY, 5))
        status = json.loads((await scaler.get("/api/v1/triggers"))[1])["triggers"][0]
        assert {key["key"]: key["inFlight"] for key in status["keys"]} == {
            "mails": 0, "unacked": 1, "worker heartbeats": 3
        }  # fmt: skip
        prefixed = {**EARLY, "globalKeyprefix": "shop:"}
        async with beating(client, heartbeat("mails@a", 7), channel=f"shop:{CHANNEL}"):
            await eventually(partial(target_is, scaler, prefixed, 7))


@pytest.mark.releases("valkey-9.1")
async def test_a_heartbeat_wakes_a_trigger_at_rest(server: Server, client: redis.asyncio.Redis) -> None:
    """A change of the number of running tasks is noticed although no key changes."""
    async with running_scaler(server) as scaler, scaler.keda.activity(EARLY) as stream:
        await eventually(partial(at_rest, scaler))
        assert stream.received == []
        assert await scaler.keda.active(EARLY) is False
        await eventually(lambda: client.publish(CHANNEL, heartbeat("mails@a", 1)))
        await eventually(lambda: stream.received[:1] == [True], seconds=10)
        assert await scaler.keda.target(EARLY) == 1


@pytest.mark.releases("valkey-9.1")
async def test_the_first_answer_includes_all_running_tasks(server: Server, client: redis.asyncio.Redis) -> None:
    """A scaler that has just subscribed waits for the next heartbeat of each worker, even if it knows other tasks."""
    await client.lpush("mails", "{}")

    async def beat_once() -> None:
        await eventually(lambda: client.publish(CHANNEL, heartbeat("mails@a", 3)))

    async with running_scaler(server, scaler={"bound_seconds": 20}) as scaler:
        target, _ = await asyncio.gather(scaler.keda.target(EARLY), beat_once())
        assert target == 4


@pytest.mark.releases("valkey-9.1")
async def test_a_lost_subscription_is_not_trusted_at_once(server: Server, client: redis.asyncio.Redis) -> None:
    """After a new subscription, as after the first one, no number is known before a heartbeat of each worker."""
    await client.lpush("mails", "{}")
    async with running_scaler(server, scaler={"bound_seconds": 20}) as scaler:
        assert await scaler.keda.target(EARLY) == 1
        lost = (await client.client_list(_type="pubsub"))[0]["id"]
        await client.client_kill_filter(_id=lost)

        async def refused() -> bool:
            return not await target_is(scaler, EARLY, 1)

        async def subscribed() -> bool:
            return (await client.pubsub_numsub(CHANNEL))[0][1] > 0

        await eventually(refused)
        assert await scaler.keda.target({"type": "ArqQueue"}) == 0  # which needs no subscription
        await eventually(subscribed)
        targets: list[int] = []

        async def answered() -> bool:
            with suppress(grpc.aio.AioRpcError):
                targets.append(await scaler.keda.target(EARLY))
            return bool(targets)

        answer = asyncio.create_task(eventually(answered))
        await eventually(lambda: client.publish(CHANNEL, heartbeat("mails@a", 3)))
        await answer
        assert targets == [4]


@pytest.mark.releases("valkey-9.1")
async def test_a_flood_of_workers_hides_no_running_task(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle workers displace no busy one. Where there are too many busy ones, their tasks are unknown."""
    monkeypatch.setattr("scaler.measuring.queues.heartbeats.MAX_WORKERS", 10)
    async with running_scaler(server, scaler={"bound_seconds": 20}) as scaler:
        assert await scaler.keda.target(EARLY) == 0
        await client.publish(CHANNEL, heartbeat("mails@a", 3))
        for number in range(100):
            await client.publish(CHANNEL, heartbeat(f"idle{number}", 0))
        await eventually(partial(target_is, scaler, EARLY, 3))
        for number in range(11):
            await client.publish(CHANNEL, heartbeat(f"busy{number}", 1))

        async def error() -> str | None:
            try:
                await scaler.keda.target(EARLY)
            except grpc.aio.AioRpcError as refused:
                return refused.details()
            return None

        assert "more than 10 busy workers" in await eventually(error)


@pytest.mark.releases("valkey-9.1")
async def test_heartbeats_that_may_not_be_heard_are_an_error(server: Server) -> None:
    """A user without the right to subscribe gets an error, not 0."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "deaf", "on", "nopass", "allkeys", "+@all", "resetchannels")
    async with running_scaler(server, connections={"deaf": f"redis://deaf:x@127.0.0.1:{server.port}"}) as scaler:
        with failure(grpc.StatusCode.UNAVAILABLE, "worker.heartbeat", "Celery queue mails", RIGHTS):
            await scaler.keda.target({**EARLY, "connection": "deaf"})


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize(
    ("metadata", "key"),
    [(MAILS, "unacked"), ({"type": "DramatiqQueue", "queue": "mails"}, "dramatiq:mails.DQ.msgs")],
)
async def test_scripts_that_may_not_run_are_an_error(server: Server, metadata: dict[str, str], key: str) -> None:
    """The error names the trigger and where the rights are listed."""
    with server.client() as client:
        client.hset(key, "a", held("", "mails"))
        client.execute_command("ACL", "SETUSER", "plain", "on", "nopass", "allkeys", "+@all", "-@scripting")
    async with running_scaler(server, connections={"plain": f"redis://plain:x@127.0.0.1:{server.port}"}) as scaler:
        with failure(grpc.StatusCode.UNAVAILABLE, key, "queue mails", RIGHTS):
            await scaler.keda.target({**metadata, "connection": "plain"})


@pytest.mark.releases("valkey-9.1")
async def test_connection_strings_get_no_subscription(server: Server) -> None:
    """A ScaledObject that names its Redis needs acksLate."""
    async with running_scaler(server, scaler={"allowed_hosts": ["127.0.0.1"]}) as scaler:
        with failure(grpc.StatusCode.PERMISSION_DENIED, "heartbeats", "acksLate"):
            await scaler.keda.target({**EARLY, "connectionString": server.address})
