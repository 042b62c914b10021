"""A holder whose process was blocked for longer than its lease."""

import pytest
import redis.asyncio

from listeners.keys import lease_epoch_key
from tests.listeners.leases.holders import KEY, sample, subscribed
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

NUMBER = 40


def wait_until_free(client: redis.Redis) -> None:
    """Block this thread until nobody holds the lease."""
    while client.exists(KEY):
        pass


def recording_app(server: Server, concurrency: int, *, taken_meanwhile: bool) -> tuple[App, list[tuple[str, int]]]:
    """Return an app whose first call blocks the event loop beyond the lease, and what it is called with."""
    app, calls = App("test"), list[tuple[str, int]]()

    @app.pubsub_trigger(channel="news", concurrency=concurrency)
    async def on_message(message: RedisMessage) -> None:
        calls.append((message.message, message.epoch or 0))
        if message.message == "0":
            with server.client() as client:
                # Only now, so that some of the others are in progress already and some are not received yet.
                for number in range(NUMBER // 2, NUMBER):
                    client.publish("news", str(number))
                wait_until_free(client)
                if taken_meanwhile:
                    client.incr(lease_epoch_key(KEY))
                    client.set(KEY, "another", px=50)
                    wait_until_free(client)

    return app, calls


async def publish(client: redis.asyncio.Redis, numbers: range) -> None:
    """Publish messages in one step, so that all arrive before the first call."""
    async with client.pipeline(transaction=True) as step:
        for number in numbers:
            step.publish("news", str(number))
        await step.execute()


@pytest.mark.releases("redis-5.0", "valkey-9.1")
@pytest.mark.parametrize("concurrency", [1, 5])
async def test_nobody_held_the_lease_meanwhile(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All messages are handled in their order, under the new epoch: those in progress, queued and in transit."""
    monkeypatch.setattr("listeners.engine.calling.limits.MESSAGES_PER_TAKE", 10)
    app, calls = recording_app(server, concurrency, taken_meanwhile=False)
    async with run_host(app, pubsub_lease_seconds=1) as host:
        await subscribed(client, 1)
        await publish(client, range(NUMBER // 2))
        await eventually(lambda: len(calls) == NUMBER)
        assert sample(host, "messages_dropped_total") == 0
    first, *others = calls
    assert [message for message, _ in calls] == [str(number) for number in range(NUMBER)]
    assert {epoch for _, epoch in others} == {first[1] + 1}


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_another_instance_held_the_lease_meanwhile(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost
) -> None:
    """No message is handled that the other instance may have handled."""
    app, calls = recording_app(server, 1, taken_meanwhile=True)
    async with run_host(app, pubsub_lease_seconds=1) as host:
        await subscribed(client, 1)
        await publish(client, range(NUMBER // 2))
        await eventually(lambda: sample(host, "messages_dropped_total") == NUMBER - 1)

        async def is_handled() -> bool:
            await client.publish("news", "later")
            return len(calls) > 1

        await eventually(is_handled)
    assert {message for message, _ in calls} == {"0", "later"}
