"""Hosts with leases in Kubernetes, and how the place of leases is chosen."""

import ssl
import sys
from pathlib import Path
from typing import Any

import certifi
import pytest
import redis.asyncio
from kubernetes.aio.config import incluster_config

from listeners.errors import ConfigurationError, MissingExtraError
from listeners.leases import kubernetes_lease
from listeners.leases.kubernetes_lease import cluster_api, lease_name, open_kubernetes_lease, wants_kubernetes
from tests.listeners.leases.holders import recording_app, sample, subscribed
from tests.support.kubernetes_api import LeaseApi, client_of
from tests.support.running_host import RunHost
from tests.support.waiting import eventually

NAME = lease_name("test", "on_message")


@pytest.fixture
def in_cluster(api: LeaseApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make the stand-in the API server of this process's cluster."""
    (tmp_path / "namespace").write_text("shop\n")
    monkeypatch.setattr(kubernetes_lease, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setattr(kubernetes_lease, "cluster_api", lambda: client_of(api))


@pytest.mark.usefixtures("in_cluster")
@pytest.mark.releases("valkey-9.1")
async def test_hosts_with_a_kubernetes_lease(api: LeaseApi, client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """One of two hosts is subscribed. Once it drains, the other takes over at once, and Redis has no lease."""
    app, got = recording_app("news")
    options: dict[str, object] = {"pubsub_lease": "kubernetes", "pubsub_lease_seconds": 3600}
    async with run_host(app, instance="first", **options) as first:
        await subscribed(client, 1)
        async with run_host(app, instance="second", **options):
            await client.publish("news", "1")
            await eventually(lambda: len(got) == 1)
            first.drain()
            await eventually(lambda: api.leases[NAME]["spec"]["holderIdentity"] == "second")
            await subscribed(client, 1)
            await client.publish("news", "2")
            await eventually(lambda: len(got) == 2)
        assert api.leases[NAME]["spec"]["holderIdentity"] == ""
    assert [message.epoch for message in got] == [1, 2]
    assert await client.keys("*lease*") == []


@pytest.mark.usefixtures("in_cluster")
@pytest.mark.releases("valkey-9.1")
async def test_a_host_without_permission(api: LeaseApi, client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """A denied lease is an error of its trigger alone: no instance subscribes, and other triggers work."""
    app, _ = recording_app("news")
    elements: list[str] = []

    @app.list_trigger(keys="list")
    async def on_element(element: str) -> None:
        elements.append(element)

    api.denied.add("create")
    async with run_host(app, pubsub_lease="kubernetes") as host:
        labels = {"app": "test", "function": "on_message", "reason": "access_denied"}
        await eventually(lambda: host.registry.get_sample_value("triggerfish_source_errors_total", labels))
        await client.rpush("list", "1")
        await eventually(lambda: elements)
        await subscribed(client, 0)
        api.denied.clear()
        await subscribed(client, 1)


@pytest.mark.usefixtures("in_cluster")
@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize("status", [401, 403, 503])
async def test_a_holder_that_cannot_renew(
    api: LeaseApi, client: redis.asyncio.Redis, run_host: RunHost, status: int
) -> None:
    """It unsubscribes when its lease ends, counts no message that the next holder gets, and subscribes again later."""
    app, got = recording_app("news")
    async with run_host(app, pubsub_lease="kubernetes", pubsub_lease_seconds=2) as host:
        await subscribed(client, 1)
        api.status = status
        await eventually(lambda: sample(host, "lease_held") == 0)
        for _ in range(50):
            await client.publish("news", "for the next holder")
        await subscribed(client, 0)
        api.status = None
        await subscribed(client, 1)
        await client.publish("news", "again")
        await eventually(lambda: [message.message for message in got] == ["again"])
        assert sample(host, "messages_dropped_total") == 0


@pytest.mark.parametrize(
    ("host", "token", "choice", "expected"),
    [
        ("10.0.0.1", True, "auto", True),
        ("", True, "auto", False),
        ("10.0.0.1", False, "auto", False),
        ("10.0.0.1", True, "redis", False),
        ("", False, "kubernetes", True),
    ],
)
def test_where_leases_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str, choice: Any, *, token: bool, expected: bool
) -> None:
    """`auto` is Kubernetes in a cluster with a service account's token, and Redis elsewhere."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setattr(kubernetes_lease, "SERVICE_ACCOUNT", tmp_path)
    if token:
        (tmp_path / "token").write_text("token")
    assert wants_kubernetes(choice) is expected


def test_kubernetes_leases_outside_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Kubernetes lease outside a cluster is a configuration error; no other lease is used instead."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match=r"host.pubsub_lease.*service account.*host.pubsub_lease=redis"):
        open_kubernetes_lease("shop", "forget", "first", 10)


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional package, the error gives the command that installs it."""
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'triggerfish\[kubernetes\]'.*host.pubsub_lease=redis"):
        open_kubernetes_lease("shop", "forget", "first", 10)


async def test_the_client_uses_the_pods_service_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a pod, the client connects to the cluster's API server, trusts its certificates and sends the pod's token."""
    token = tmp_path / "token"
    token.write_text("hidden-word")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    client = cluster_api().api_client
    assert client.configuration.host == "https://10.0.0.1:443"
    assert (await client.configuration.auth_settings())["BearerToken"]["value"] == "bearer hidden-word"
    assert client.rest_client.ssl_context.verify_mode is ssl.CERT_REQUIRED
