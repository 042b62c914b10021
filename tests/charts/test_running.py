"""What the chart renders runs: the real scaler, a real app and the pods of `helm test`, on a real server."""

from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from tests.charts.containers import Node
from tests.charts.rendering import chart_values, merged, render
from tests.support.certificates import Authority
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

SCALER = "triggerfish-scaler"
ADDRESS = "triggerfish-scaler.triggerfish.svc:6000"
CODE = Path(__file__).parents[1] / "apps"
TRIGGERS = {
    "handle_order": {"type": "RedisListTrigger", "connection": "cache", "keys": "orders", "messagesPerWorker": 2},
    "settle": {
        "type": "RedisStreamTrigger",
        "connection": "cache",
        "keys": ["payments", "refunds"],
        "consumerGroup": "billing",
    },
    "forget": {"type": "RedisPubSubTrigger", "channel": "cancelled"},
}


def values(server: Server, **more: Any) -> dict[str, Any]:
    """Those of an app with all three triggers, on a named and on the default connection."""
    shop = {
        "image": {"repository": "shop", "tag": "1"},
        "app": "shop.py",
        "triggers": TRIGGERS,
        "scaling": {"maxReplicas": 20},
        "extraEnv": [{"name": "NOTES_PORT", "value": str(server.port)}],
    }
    return {
        "connection": {"secretName": "main-redis"},
        "connections": {"cache": {"secretName": "cache-redis", "key": "url"}},
        "apps": {"shop": shop},
        **more,
    }


@pytest.fixture
def secrets(server: Server) -> dict[str, dict[str, str]]:
    """The Secrets that exist before the chart is installed."""
    limited = f"connection_string: {server.address}\nnamespaces: [triggerfish]\n"
    return {"main-redis": {"connection": server.address}, "cache-redis": {"url": server.address, "limited": limited}}


async def test_the_release_runs_and_passes_its_own_test(
    server: Server, client: redis.asyncio.Redis, secrets: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """The scaler and the app become ready and work; `helm test` succeeds; SIGTERM ends both within their time."""
    node = Node(render(values(server)), secrets, tmp_path, CODE)
    with node.running(SCALER) as scaler, node.running("shop") as shop:
        await scaler.ready()
        await shop.ready()
        await client.rpush("orders", "1")
        await client.xadd("refunds", {"number": "2"})
        await eventually(lambda: client.publish("cancelled", "3"))  # there may be no subscriber yet
        await eventually(lambda: _noted(client, "order 1", "payment 2", "cancelled 3"))
        metrics = await scaler.get("/metrics")
        for function in TRIGGERS:
            assert f'function="{function}"' in metrics
        assert "triggerfish_trigger_known" in metrics
        assert 'app="shop"' in await shop.get("/metrics")
        node.addresses[ADDRESS] = f"127.0.0.1:{scaler.ports[6000]}"
        code, said = node.run("triggerfish-scaler-test")
        assert (code, said.count("target size 1")) == (0, len(TRIGGERS)), said
        code, said = node.run("shop-test")
        assert (code, said.count("ok  ")) == (0, len(TRIGGERS)), said
        assert shop.stop(seconds=35) == 0
        assert scaler.stop(seconds=15) == 0


async def _noted(client: redis.asyncio.Redis, *lines: str) -> bool:
    return set(await client.lrange("noted", 0, -1)) == {line.encode() for line in lines}


async def test_helm_test_fails_if_redis_cannot_be_reached(
    server: Server, secrets: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Both pods end with an error and say which trigger has no Redis; the scaler is ready all the same."""
    secrets["cache-redis"]["url"] = "127.0.0.1:1,connectTimeout=500"
    node = Node(render(values(server)), secrets, tmp_path, CODE)
    with node.running(SCALER) as scaler:
        await scaler.ready()
        node.addresses[ADDRESS] = f"127.0.0.1:{scaler.ports[6000]}"
        code, said = node.run("triggerfish-scaler-test")
        assert (code, "UNAVAILABLE" in said) == (1, True), said
        code, said = node.run("shop-test")
        assert (code, "FAIL handle_order" in said) == (1, True), said


async def test_mutual_tls_works_as_the_release_says(
    server: Server, secrets: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """With mutual TLS the scaler uses a limited connection, and the test's pod, with KEDA's certificate, is answered;
    without a certificate it is not.
    """
    more = {"tls": {"enabled": True, "mutual": True, "secretName": "scaler-tls", "clientSecretName": "keda-tls"}}
    given = merged(values(server, **more), {"connections": {"cache": {"key": "limited"}}})
    authority = Authority()
    for name, host in (("scaler-tls", ADDRESS.partition(":")[0]), ("keda-tls", "keda")):
        signed = authority.sign(host)
        secrets[name] = {
            "tls.crt": signed.certificate.decode(),
            "tls.key": signed.key.decode(),
            "ca.crt": authority.certificate.decode(),
        }
    rendered = render(given)
    node = Node(rendered, secrets, tmp_path, CODE)
    with node.running(SCALER) as scaler:
        await scaler.ready()
        node.addresses[ADDRESS] = f"127.0.0.1:{scaler.ports[6000]}"
        code, said = node.run("triggerfish-scaler-test")
        assert (code, said.count("target size 1")) == (0, len(TRIGGERS)), said
        plain = render({**given, "tls": {**more["tls"], "mutual": False}})
        stranger = Node(plain, secrets, tmp_path / "stranger", CODE, node.addresses)
        code, said = stranger.run("triggerfish-scaler-test")
        assert (code, "cannot be reached" in said) == (1, True), said


async def test_the_trials_valkey_is_reached_by_its_address(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    """A connection that leads to the bundled Valkey, and the default one, need no Secret."""
    trial = merged(chart_values("trial"), {"apps": {"shop": values(server)["apps"]["shop"]}})
    node = Node(render(trial), {}, tmp_path, CODE)
    settings = node.rendered.one("ConfigMap", "shop")["data"]
    # The Service's name is not known on this machine.
    settings["config.yaml"] = settings["config.yaml"].replace("triggerfish-valkey:6379", server.address)
    node.addresses["triggerfish-valkey:6379"] = server.address
    with node.running("shop") as shop:
        await shop.ready()
        await client.rpush("orders", "1")
        await eventually(lambda: client.publish("cancelled", "2"))  # there may be no subscriber yet
        await eventually(lambda: _noted(client, "order 1", "cancelled 2"))
