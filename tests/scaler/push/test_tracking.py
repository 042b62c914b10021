"""Client tracking: where Redis reports changes, idle triggers are not polled and activation is immediate."""

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise

import pytest
import redis.asyncio

from listeners.functions.triggers import DEFAULT_CONSUMER_GROUP
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.servers.sentinels import Sentinels
from tests.support.running_scaler import RunningScaler, running_scaler
from tests.support.waiting import eventually
from tests.triggerfish.cli.test_probe import triggerfish
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments"}
STREAM_READS = f"stream payments as {DEFAULT_CONSUMER_GROUP}"
#: Names of the measuring commands in INFO commandstats.
MEASURING = ("multi", "exec", "llen", "zcard", "evalsha_ro", "evalsha", "eval", "xlen", "xinfo|groups", "xinfo", "time")


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not repeat the first `true`."""
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", ())


async def polled(scaler: RunningScaler) -> float:
    """Return how many triggers with open streams are polled; -1 if none has an open stream."""
    series = (await scaler.samples()).get("triggerfish_push_polled_triggers", {})
    return sum(series.values()) if series else -1


async def at_rest(scaler: RunningScaler) -> bool:
    """Return whether there are open streams, and no trigger is polled."""
    return await polled(scaler) == 0


async def measuring_commands(client: redis.asyncio.Redis) -> int:
    """Return how many measuring commands Redis has run since its statistics were reset."""
    stats = await client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in MEASURING)


@pytest.mark.releases(*(name for name in RELEASES if name != "redis-5.0"))
async def test_a_new_entry_activates_without_polling(server: Server, client: redis.asyncio.Redis) -> None:
    """Idle triggers cost no command, and a new entry of a list or stream leads to `true` without a server setting."""
    await client.xgroup_create("payments", DEFAULT_CONSUMER_GROUP, mkstream=True)
    async with (
        running_scaler(server) as scaler,
        scaler.keda.activity(LIST) as orders,
        scaler.keda.activity(STREAM) as payments,
    ):
        await eventually(partial(at_rest, scaler))
        await client.config_resetstat()
        before = await scaler.rounds()
        for _ in range(50):
            assert await scaler.keda.target(LIST) == await scaler.keda.target(STREAM) == 0
        assert await measuring_commands(client) == 0
        assert await scaler.rounds() == before
        await client.rpush("orders", "x")
        await eventually(lambda: orders.received == [True], seconds=5)
        await client.xadd("payments", {"a": "b"})
        await eventually(lambda: payments.received == [True], seconds=5)
        assert await scaler.keda.target(LIST) == await scaler.keda.target(STREAM) == 1


async def test_people_see_how_a_trigger_is_watched(server: Server, client: redis.asyncio.Redis) -> None:
    """JSON, the page and `explain` state whether changes are reported, or else how often it is polled and why."""
    await client.xadd("payments", {"a": "b"})
    async with running_scaler(server) as scaler, scaler.keda.activity(LIST), scaler.keda.activity(STREAM):
        expected = {
            "list orders": "changes are reported (client tracking)",
            STREAM_READS: "polled every 100 ms: Redis does not report what consumers do with a stream",
        }

        async def watched() -> dict[str, str]:
            _, text = await scaler.get("/api/v1/triggers")
            return {one["reads"]: one.get("watched", "") for one in json.loads(text)["triggers"]}

        await eventually(lambda: _is(watched, expected))
        _, page = await scaler.get("/")
        assert all(text in page for text in expected.values())
        explained = await triggerfish("explain", "--scaler", f"http://127.0.0.1:{scaler.server.http_port}")
        assert [f"{text}: {reads}" for reads, text in expected.items()] == explained.output.splitlines()[-2:]


async def _is(found: Callable[[], Awaitable[object]], expected: object) -> bool:
    return await found() == expected


async def test_a_trigger_becomes_active_again(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change to active is pushed, also after the entries of a stream were consumed, which is not reported."""
    monkeypatch.setattr("scaler.push.subscribers.MIN_GAP_SECONDS", 0.01)
    await client.xgroup_create("payments", DEFAULT_CONSUMER_GROUP, mkstream=True)
    async with (
        running_scaler(server) as scaler,
        scaler.keda.activity(LIST) as orders,
        scaler.keda.activity(STREAM) as payments,
    ):
        for times in (1, 2, 3):
            await eventually(partial(at_rest, scaler))
            await client.rpush("orders", "x")
            entry = await client.xadd("payments", {"a": "b"})
            await eventually(partial(_received, times, orders.received, payments.received))
            await client.delete("orders")
            await client.xreadgroup(DEFAULT_CONSUMER_GROUP, "c", {"payments": ">"})
            await client.xack("payments", DEFAULT_CONSUMER_GROUP, entry)
            await eventually(partial(_idle, scaler))


def _received(times: int, *streams: Sequence[object]) -> bool:
    return all(list(received) == [True] * times for received in streams)


async def _idle(scaler: RunningScaler) -> bool:
    return not any((await scaler.samples())["triggerfish_trigger_active"].values())


async def test_the_first_true_is_repeated_at_rest(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KEDA drops an early `true`: it is repeated also if nothing changes meanwhile."""
    monkeypatch.setattr("scaler.push.subscribers.MIN_GAP_SECONDS", 0.01)
    monkeypatch.setattr("scaler.push.subscribers.REPEAT_AFTER_SECONDS", (0.3, 0.6))
    async with running_scaler(server) as scaler, scaler.keda.activity(LIST) as orders:
        await eventually(partial(at_rest, scaler))
        await client.rpush("orders", "x")
        await eventually(lambda: orders.received == [True] * 3, seconds=10)


async def test_a_busy_key_is_measured_rarely(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that changes all the time without activating its trigger causes one check at once, and the next later."""
    monkeypatch.setattr("scaler.push.loop.BUSY_SECONDS", 600.0)
    metadata = {**LIST, "activationMessages": "1000"}
    async with running_scaler(server) as scaler, scaler.keda.activity(metadata) as stream:
        await eventually(partial(at_rest, scaler))
        before = await scaler.rounds()
        for _ in range(100):
            await client.rpush("orders", "x")
        assert await scaler.rounds() <= before + 1
        assert stream.received == []


async def test_the_age_of_an_idle_list(server: Server) -> None:
    """An unchanged list has the age of the last proof, however long ago it was measured."""
    async with running_scaler(server) as scaler, scaler.keda.activity(LIST):
        await eventually(partial(at_rest, scaler))
        rounds = await scaler.rounds()
        ages: list[float] = []

        async def is_renewed() -> bool:
            ages.extend((await scaler.samples())["triggerfish_trigger_sample_age_seconds"].values())
            return any(later < earlier for earlier, later in pairwise(ages))

        await eventually(is_renewed)
        assert await scaler.rounds() == rounds
        assert max(ages) < 4


@pytest.mark.parametrize(
    ("denied", "denied_words"), [("-client|tracking", "CLIENT TRACKING ON"), ("-exists", "may not be read by EXISTS")]
)
async def test_where_tracking_is_denied_triggers_are_polled(own_server: Server, denied: str, denied_words: str) -> None:
    """Without the permission, new entries are found by polling, and it is not asked for again and again."""
    with own_server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "narrow", "on", ">secret", "~*", "&*", "+@all", denied)
        connections = {"narrow": f"{own_server.address},user=narrow,password=secret"}
        metadata = {**LIST, "connection": "narrow"}
        async with running_scaler(connections=connections) as scaler, scaler.keda.activity(metadata) as stream:
            await eventually(lambda: admin.execute_command("ACL", "LOG"))
            assert await polled(scaler) == 1
            await eventually(lambda: _is_watched(scaler, "polled every 100 ms: ", denied_words))
            admin.rpush("orders", "x")
            await eventually(lambda: stream.received == [True])
            assert sum(int(entry["count"]) for entry in admin.acl_log()) <= 4


async def _is_watched(scaler: RunningScaler, *words: str) -> bool:
    _, text = await scaler.get("/api/v1/triggers")
    [trigger] = json.loads(text)["triggers"]
    return all(word in trigger.get("watched", "") for word in words)


@pytest.mark.releases("redis-5.0")
async def test_before_redis_6_triggers_are_polled(server: Server, client: redis.asyncio.Redis) -> None:
    """A server without tracking is polled, and never asked for it."""
    async with running_scaler(server) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(lambda: _has_measured(scaler))
        await client.rpush("orders", "x")
        await eventually(lambda: stream.received == [True])
        assert await polled(scaler) == 1
        assert await _is_watched(scaler, "polled every 100 ms: Redis 5.", "has no client tracking")
        assert not any(one["name"].endswith(":tracking") for one in await client.client_list())


async def _has_measured(scaler: RunningScaler) -> bool:
    return await scaler.rounds() > 2


async def test_an_untold_change_turns_tracking_off(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SWAPDB is not reported: the check that finds the change counts it, warns, and polls from then on."""
    monkeypatch.setattr("scaler.push.loop.REST_SECONDS", 0.2)
    async with redis.asyncio.Redis(port=server.port, db=3, protocol=2) as other:
        await other.rpush("orders", "x")
    async with running_scaler(server) as scaler, scaler.keda.activity(LIST) as stream:
        await eventually(partial(at_rest, scaler))
        await client.execute_command("SWAPDB", 0, 3)
        await eventually(lambda: stream.received == [True])
        await eventually(lambda: _counted_untold(scaler))
        await eventually(lambda: _is_polled(scaler))
    assert "did not report" in caplog.text
    await client.execute_command("SWAPDB", 0, 3)


async def _counted_untold(scaler: RunningScaler) -> bool:
    return (await scaler.samples())["triggerfish_untold_changes_total"][()] == 1


async def _is_polled(scaler: RunningScaler) -> bool:
    return await polled(scaler) == 1


@pytest.mark.parametrize("kind", [Cluster, Sentinels])
async def test_behind_sentinels_and_on_a_cluster(kind: Callable[..., Cluster | Sentinels]) -> None:
    """The primary behind Sentinels reports changes, and so does each primary of a cluster, also after a failover."""
    with kind(RELEASES["valkey-9.1"]) as servers:
        async with (
            running_scaler(servers) as scaler,
            scaler.keda.activity(LIST) as orders,
            scaler.keda.activity(STREAM) as payments,
        ):
            await eventually(partial(at_rest, scaler))
            if isinstance(servers, Cluster):
                servers.kill_primary_of("orders")
            else:
                servers.kill_primary()
            await eventually(partial(at_rest, scaler), seconds=60)
            for key in ("orders", "payments"):
                node = servers.node_of(key) if isinstance(servers, Cluster) else servers.primary
                async with redis.asyncio.Redis(port=node.port, protocol=2) as client:
                    await (client.rpush(key, "x") if key == "orders" else client.xadd(key, {"a": "b"}))
            await eventually(lambda: orders.received == payments.received == [True], seconds=5)
