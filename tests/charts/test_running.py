"""The rendered release runs: the scaler, an app and the pods of `helm test`, with a real Redis server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from tests.charts.containers import Node
from tests.charts.control_plane import ControlPlane, control_plane
from tests.charts.rendering import chart_values, merged, render
from tests.support.network.certificates import Authority
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

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


def values(server: Server, **overrides: Any) -> dict[str, Any]:
    """Return values for an app with all three types of trigger, on a named and on the default connection."""
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
        **overrides,
    }


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """A control plane with a current KEDA."""
    async with control_plane(tmp_path) as running:
        yield running


@pytest.fixture
def secrets(server: Server) -> dict[str, dict[str, str]]:
    """The Secrets that exist before the chart is installed."""
    limited = f"connection_string: {server.address}\nnamespaces: [triggerfish]\n"
    return {"main-redis": {"connection": server.address}, "cache-redis": {"url": server.address, "limited": limited}}


async def test_the_release_runs_and_passes_helm_test(
    server: Server,
    client: redis.asyncio.Redis,
    secrets: dict[str, dict[str, str]],
    tmp_path: Path,
    plane: ControlPlane,
) -> None:
    """The scaler and the app become ready and work, and both exit in time after SIGTERM. A current KEDA makes no HPA
    while the scaler does not answer, and retries. `helm test` waits for its HPA, and succeeds.
    """
    node = Node(render(values(server)), secrets, tmp_path, CODE, plane=plane)
    scaled_object = node.rendered.one("ScaledObject", "shop")
    assert not await plane.reconcile(scaled_object, f"127.0.0.1:{free_port()}")
    assert (plane.ready, plane.hpas) == ({"shop": "ScaledObjectCheckFailed"}, {})
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
        testing = asyncio.create_task(node.run("triggerfish-scaler-test"))
        await eventually(lambda: plane.requests)
        assert not testing.done()
        await plane.scale(scaled_object, node.addresses[ADDRESS])
        code, output = await testing
        assert (code, output.count("target size 1")) == (0, len(TRIGGERS)), output
        assert output.count("keda-hpa-shop scales by it") == len(TRIGGERS)
        assert plane.ready == {"shop": "ScaledObjectReady"}
        code, output = await node.run("shop-test")
        assert (code, output.count("ok  ")) == (0, len(TRIGGERS)), output
        assert shop.stop(seconds=35) == 0
        assert scaler.stop(seconds=15) == 0


async def _noted(client: redis.asyncio.Redis, *lines: str) -> bool:
    return set(await client.lrange("noted", 0, -1)) == {line.encode() for line in lines}


async def test_helm_test_fails_if_redis_cannot_be_reached(
    server: Server, secrets: dict[str, dict[str, str]], tmp_path: Path, plane: ControlPlane
) -> None:
    """Both test pods fail and name the trigger without Redis. The scaler becomes ready nevertheless."""
    secrets["cache-redis"]["url"] = "127.0.0.1:1,connectTimeout=500"
    node = Node(render(values(server)), secrets, tmp_path, CODE, plane=plane)
    with node.running(SCALER) as scaler:
        await scaler.ready()
        node.addresses[ADDRESS] = f"127.0.0.1:{scaler.ports[6000]}"
        await plane.scale(node.rendered.one("ScaledObject", "shop"), node.addresses[ADDRESS])
        code, output = await node.run("triggerfish-scaler-test")
        assert (code, "UNAVAILABLE" in output) == (1, True), output
        code, output = await node.run("shop-test")
        assert (code, "FAIL handle_order" in output) == (1, True), output


async def test_the_release_works_with_mutual_tls(
    server: Server, secrets: dict[str, dict[str, str]], tmp_path: Path, plane: ControlPlane
) -> None:
    """With mutual TLS the scaler uses a limited connection. It accepts the test pod with KEDA's certificate, and
    rejects it without a certificate.
    """
    tls = {"tls": {"enabled": True, "mutual": True, "secretName": "scaler-tls", "clientSecretName": "keda-tls"}}
    release = merged(values(server, **tls), {"connections": {"cache": {"key": "limited"}}})
    authority = Authority()
    for name, host in (("scaler-tls", ADDRESS.partition(":")[0]), ("keda-tls", "keda")):
        signed = authority.sign(host)
        secrets[name] = {
            "tls.crt": signed.certificate.decode(),
            "tls.key": signed.key.decode(),
            "ca.crt": authority.certificate.decode(),
        }
    rendered = render(release)
    node = Node(rendered, secrets, tmp_path, CODE, plane=plane)
    plane.accept(rendered.one("ScaledObject", "shop"))
    with node.running(SCALER) as scaler:
        await scaler.ready()
        node.addresses[ADDRESS] = f"127.0.0.1:{scaler.ports[6000]}"
        code, output = await node.run("triggerfish-scaler-test")
        assert (code, output.count("target size 1")) == (0, len(TRIGGERS)), output
        without_certificate = render({**release, "tls": {**tls["tls"], "mutual": False}})
        stranger = Node(without_certificate, secrets, tmp_path / "stranger", CODE, node.addresses, plane)
        code, output = await stranger.run("triggerfish-scaler-test")
        assert (code, "cannot be reached" in output) == (1, True), output


async def test_the_trial_valkey_needs_no_secret(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """The default connection and a named connection to the bundled Valkey work without a Secret."""
    trial = merged(chart_values("trial"), {"apps": {"shop": values(server)["apps"]["shop"]}})
    node = Node(render(trial), {}, tmp_path, CODE)
    settings = node.rendered.one("ConfigMap", "shop")["data"]
    # The Service's name does not resolve on this machine.
    settings["config.yaml"] = settings["config.yaml"].replace("triggerfish-valkey:6379", server.address)
    node.addresses["triggerfish-valkey:6379"] = server.address
    with node.running("shop") as shop:
        await shop.ready()
        await client.rpush("orders", "1")
        await eventually(lambda: client.publish("cancelled", "2"))  # there may be no subscriber yet
        await eventually(lambda: _noted(client, "order 1", "cancelled 2"))


async def test_helm_test_fails_while_keda_scales_by_cpu(
    server: Server, secrets: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """KEDA before 2.20.2 that reconciles before the scaler answers makes an HPA for CPU and never corrects it. `helm
    test` fails with what to do, and passes once that was done.
    """
    async with control_plane(tmp_path, old=True) as plane:
        node = Node(render(values(server)), secrets, tmp_path, CODE, plane=plane)
        shop = node.rendered.one("ScaledObject", "shop")
        await plane.scale(shop, f"127.0.0.1:{free_port()}")
        assert plane.ready == {"shop": "ScaledObjectReady"}
        with node.running(SCALER) as scaler:
            await scaler.ready()
            node.addresses[ADDRESS] = f"127.0.0.1:{scaler.ports[6000]}"
            await plane.scale(shop, node.addresses[ADDRESS])
            code, output = await node.run("triggerfish-scaler-test")
            text = " ".join(output.split())
            assert (code, "scales by cpu" in text, "kubectl delete hpa keda-hpa-shop" in text) == (1, True, True), (
                output
            )
            del plane.hpas["keda-hpa-shop"]
            await plane.scale(shop, node.addresses[ADDRESS])
            code, output = await node.run("triggerfish-scaler-test")
            assert code == 0, output


async def test_a_secret_that_holds_only_a_password(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, plane: ControlPlane
) -> None:
    """The scaler and `helm test` use the address in the values and the password in the Secret, for both connections."""
    await client.acl_setuser(
        "narrow", enabled=True, passwords=["+a,b c"], keys=["*"], channels=["*"], commands=["+@all"]
    )
    connection = {"address": f"{server.address},user=narrow", "passwordSecret": "cache-password"}
    main = {**connection, "passwordSecret": "main-password", "key": "secret"}
    rendered = render({**values(server), "connection": main, "connections": {"cache": connection}})
    secrets = {"main-password": {"secret": "a,b c\n"}, "cache-password": {"password": "a,b c\n"}}
    node = Node(rendered, secrets, tmp_path, CODE, plane=plane)
    plane.accept(rendered.one("ScaledObject", "shop"))
    try:
        with node.running(SCALER) as scaler:
            await scaler.ready()
            node.addresses[ADDRESS] = f"127.0.0.1:{scaler.ports[6000]}"
            code, output = await node.run("triggerfish-scaler-test")
            assert code == 0, output
            assert "a,b c" not in await scaler.get("/") + await scaler.get("/metrics")
    finally:
        await client.acl_deluser("narrow")
