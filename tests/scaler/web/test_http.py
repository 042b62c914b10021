"""The scaler's HTTP endpoints: probes, metrics, and triggers as JSON."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import grpc
import pytest
import redis.asyncio
from grpc import StatusCode
from prometheus_client import CollectorRegistry

from listeners.connections.named import Connections
from listeners.errors import ConfigurationError
from listeners.runtime.http import serve
from scaler.access.access import Access
from scaler.evaluation.evaluator import Evaluator
from scaler.measuring.samplers import Samplers
from scaler.server import ScalerServer
from scaler.triggers.metadata import read_metadata
from scaler.web.peers import Peers
from scaler.web.routes import http_app
from tests.support.running_scaler import RunningScaler, failure, running_scaler, scaler_settings
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders", "function": "handle"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments", "function": "settle"}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}

#: Every sample that a scaler exposes after one poll of each kind.
NAMES = {
    "triggerfish_build_info",
    "triggerfish_grpc_requests_total",
    "triggerfish_grpc_requests_created",
    "triggerfish_open_streams",
    "triggerfish_reload_errors_total",
    "triggerfish_reload_errors_created",
    "triggerfish_untold_changes_total",
    "triggerfish_untold_changes_created",
    "triggerfish_sample_errors_total",
    "triggerfish_sample_errors_created",
    "triggerfish_sample_duration_seconds_bucket",
    "triggerfish_sample_duration_seconds_count",
    "triggerfish_sample_duration_seconds_sum",
    "triggerfish_sample_duration_seconds_created",
    "triggerfish_trigger_known",
    "triggerfish_trigger_sample_age_seconds",
    "triggerfish_trigger_length",
    "triggerfish_trigger_in_flight",
    "triggerfish_trigger_pending",
    "triggerfish_trigger_lag",
    "triggerfish_trigger_lag_capped",
    "triggerfish_trigger_backlog",
    "triggerfish_trigger_messages_per_worker",
    "triggerfish_trigger_target_instances",
    "triggerfish_trigger_active",
}
#: The metrics of an unknown trigger.
NAMES_OF_UNKNOWN = {"triggerfish_trigger_known", "triggerfish_trigger_messages_per_worker"}


def path_of(metadata: Mapping[str, str], namespace: str = "shop", name: str = "worker") -> str:
    """Return the path of one trigger."""
    return f"/api/v1/triggers/{namespace}/{name}/{read_metadata(metadata).metric_name}"


async def get_json(scaler: RunningScaler, path: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of a response."""
    status, text = await scaler.get(path)
    return status, json.loads(text)


async def down(server: Server) -> None:
    """Kill a server."""
    server.process.kill()
    server.process.wait()


async def test_probes_do_not_depend_on_redis(own_server: Server) -> None:
    """A scaler whose Redis is down is alive and ready, since a restart would not help."""
    await down(own_server)
    async with running_scaler(own_server) as scaler:
        assert await scaler.get("/livez") == (200, "ok\n")
        assert await scaler.get("/readyz") == (200, "ok\n")


async def test_not_ready_before_it_serves() -> None:
    """Before KEDA's calls are served, /readyz is 503 and /livez is 200."""
    ready = False
    evaluator = Evaluator(Access(Connections()), Samplers(bound_seconds=1, on_measured=lambda seconds, error: None))
    runner, port = await serve(
        http_app(evaluator, Peers(None), CollectorRegistry(), lambda: ready), "127.0.0.1", 0, field="port"
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            assert [(await session.get(path)).status for path in ("/livez", "/readyz")] == [200, 503]
            ready = True
            assert (await session.get("/readyz")).status == 200
    finally:
        await runner.cleanup()


async def test_names_of_metrics(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """The metrics have exactly the documented names, and the series of triggers have the documented labels."""
    await client.rpush("orders", "x")
    await client.xadd("payments", {"a": "b"})
    for metadata in (LIST, STREAM, PUBSUB):
        await scaler.keda.poll(metadata)
    async with scaler.keda.activity(PUBSUB) as stream:
        await eventually(lambda: stream.received)
        samples = await scaler.samples()
    assert {"process_resident_memory_bytes", "python_info"} <= set(samples)
    own = {name for name in samples if name.startswith("triggerfish_")}
    # Dead letters are counted in the background, at any time.
    assert own - {"triggerfish_trigger_dead_letters"} == NAMES
    for name, series in samples.items():
        for labels in series:
            if name.startswith("triggerfish_trigger_"):
                assert {key for key, _ in labels} == {"namespace", "scaledobject", "trigger", "function", "kind"}


async def test_values_of_metrics(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """The metrics of a trigger have the values that KEDA gets, and those they are computed from."""
    await client.rpush("orders", *range(150))
    await client.zadd("triggerfish:{orders}:inflight", {"a": 1, "b": 2})
    poll = await scaler.keda.poll(LIST)
    labels = (
        ("function", "handle"),
        ("kind", "list"),
        ("namespace", "shop"),
        ("scaledobject", "worker"),
        ("trigger", poll.spec.metricName),
    )
    samples = {
        name.removeprefix("triggerfish_trigger_"): series[labels]
        for name, series in (await scaler.samples()).items()
        if labels in series
    }
    assert 0 <= samples.pop("sample_age_seconds") < 5
    assert samples.pop("dead_letters", 0) == 0  # absent until they have been counted, after the first sample
    assert samples == {
        "known": 1, "length": 150, "in_flight": 2, "backlog": 152, "messages_per_worker": 100,
        "target_instances": 2, "active": 1,
    }  # fmt: skip


async def test_an_unknown_trigger_has_no_values(own_server: Server) -> None:
    """A trigger whose Redis is down has known 0 and no backlog, target or activity, even if it was known before."""
    async with running_scaler(own_server, scaler={"bound_seconds": 0.5}) as scaler:
        await scaler.keda.poll(LIST)
        await down(own_server)
        await eventually(lambda: _unavailable(scaler, LIST))
        await eventually(lambda: _unavailable(scaler, STREAM))
        samples = await scaler.samples()
        about_triggers = {name for name in samples if name.startswith("triggerfish_trigger_")}
        assert about_triggers == NAMES_OF_UNKNOWN
        assert list(samples["triggerfish_trigger_known"].values()) == [0, 0]
        errors = samples["triggerfish_sample_errors_total"]
        assert {dict(labels)["reason"] for labels, number in errors.items() if number} == {"unavailable"}


async def _unavailable(scaler: RunningScaler, metadata: Mapping[str, str]) -> bool:
    try:
        await scaler.keda.target(metadata)
    except grpc.aio.AioRpcError as error:
        return error.code() == StatusCode.UNAVAILABLE
    return False


async def test_series_of_dropped_triggers_vanish(scaler: RunningScaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger without requests for FORGET_SECONDS has no series and is not listed."""
    await scaler.keda.poll(LIST)
    assert "triggerfish_trigger_backlog" in await scaler.samples()
    monkeypatch.setattr("scaler.evaluation.evaluator.FORGET_SECONDS", -1)
    assert not [name for name in await scaler.samples() if name.startswith("triggerfish_trigger_")]
    assert await get_json(scaler, "/api/v1/triggers") == (200, {"triggers": [], "problems": []})


async def test_declared_triggers(server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger declared in the settings is sampled without requests, and is never dropped."""
    monkeypatch.setattr("scaler.evaluation.evaluator.FORGET_SECONDS", -1)
    await client.rpush("orders", *range(150))
    await client.rpush("returns", *range(100))
    declared = {"type": "RedisListTrigger", "keys": ["orders", "returns"], "messagesPerWorker": 50}
    async with running_scaler(server, triggers={"both": declared}) as scaler:
        await eventually(lambda: _has_backlog(scaler))
        status, page = await get_json(scaler, "/api/v1/triggers")
        [shown] = page["triggers"]
        assert (status, shown["scaledObject"], shown["backlog"], shown["target"]) == (200, "both", 250, 5)
        status, page = await get_json(scaler, f"/api/v1/triggers/{shown['path']}")
        assert (status, page["target"]) == (200, 5)


async def _has_backlog(scaler: RunningScaler) -> bool:
    return "triggerfish_trigger_backlog" in await scaler.samples()


def test_a_bad_declaration() -> None:
    """An invalid declared trigger raises a ConfigurationError with the name of the setting."""
    settings = scaler_settings(triggers={"orders": {"type": "RedisListTrigger", "keys": "k", "batchSize": 0}})
    with pytest.raises(ConfigurationError, match=r"^invalid triggers\.orders\.batchSize '0': "):
        ScalerServer(settings)


async def test_the_list_of_triggers(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """/api/v1/triggers lists the tracked triggers in a stable order, with their status."""
    await client.rpush("orders", "x")
    await client.xadd("payments", {"a": "b"})
    for metadata, name in ((STREAM, "b"), (LIST, "a"), (PUBSUB, "c")):
        await scaler.keda.poll(metadata, name=name)
    status, page = await get_json(scaler, "/api/v1/triggers")
    a, b, c = page["triggers"]
    assert status == 200
    assert (a["scaledObject"], a["function"], a["type"], a["known"]) == ("a", "handle", "RedisListTrigger", True)
    assert a["keys"] == [{"key": "orders", "length": 1, "inFlight": 0}]
    assert b["keys"][0]["lag"]["entries"] == b["backlog"] == b["target"] == 1
    assert (c["channel"], c["target"], c["active"]) == ("prices.*", 1, True)
    assert "backlog" not in c


async def test_one_trigger(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """The path of a known trigger returns 200 with freshly measured numbers."""
    await scaler.keda.poll(LIST)
    await client.rpush("orders", *range(101))

    async def counted() -> bool:
        status, page = await get_json(scaler, path_of(LIST))
        assert status == 200
        return (page["backlog"], page["target"], page["active"]) == (101, 2, True)

    await eventually(counted)


@pytest.mark.parametrize(
    "path", ["/api/v1/triggers/shop/worker/other", "/api/v1/triggers/x", "/api/v1/triggers/%20/%ff"]
)
async def test_an_unknown_trigger(scaler: RunningScaler, path: str) -> None:
    """The path of a trigger that is not tracked returns 404 with an error and no number."""
    await scaler.keda.poll(LIST)
    status, page = await get_json(scaler, path)
    assert (status, list(page)) == (404, ["error"])


async def test_a_trigger_whose_redis_is_down(own_server: Server) -> None:
    """While Redis is down, a trigger's path returns 503 with the reason and no number, and the list still works."""
    async with running_scaler(own_server, scaler={"bound_seconds": 0.5}) as scaler:
        await scaler.keda.poll(LIST)
        await down(own_server)

        async def answer() -> dict[str, Any] | None:
            status, page = await get_json(scaler, path_of(LIST))
            return page if status == 503 else None

        page = await eventually(answer)
        assert (page["known"], page["reason"]) == (False, "unavailable")
        assert not {"target", "active", "backlog"} & set(page)
        status, listed = await get_json(scaler, "/api/v1/triggers")
        assert (status, listed["triggers"][0]["known"]) == (200, False)


async def test_pages_show_no_secret(server: Server) -> None:
    """No response shows the password of a connection, even if Redis rejects it."""
    connections = {"cache": f"{server.address},password=hunter2"}
    metadata = {**LIST, "connection": "cache"}
    async with running_scaler(server, connections=connections) as scaler:
        with failure(StatusCode.UNAVAILABLE) as caught:
            await scaler.keda.target(metadata)
        pages = [await scaler.get(path) for path in ("/metrics", "/api/v1/triggers", path_of(metadata))]
        assert [status for status, _ in pages] == [200, 200, 503]
        assert not any("hunter2" in text for text in (caught.details, *(text for _, text in pages)))
