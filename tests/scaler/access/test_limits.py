"""Limits of connections: keys and channels, and what makes namespaces trusted. test_service covers namespaces."""

from pathlib import Path

import pytest
from grpc import StatusCode

from listeners.errors import ConfigurationError, ConnectionNotAllowedError
from listeners.functions.triggers import PubSubTrigger
from scaler.access.access import Access, limits_of
from scaler.server import ScalerServer
from scaler.settings import load_settings
from tests.support.network.certificates import Authority
from tests.support.running_scaler import failure, running_scaler, scaler_settings
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "shop:orders", "connection": "cache"}
STREAM = {"type": "redisStreamTrigger", "keys": "shop:payments shop:refunds", "connection": "cache"}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "shop:prices.*", "connection": "cache"}
CONNECTION = {"connection_string": "cache:1", "key_prefixes": ["shop:", "__keyspace@0__:shop:"]}


async def test_key_prefixes(server: Server) -> None:
    """Keys and channels with an allowed prefix are measured. Others are PERMISSION_DENIED, but have a metric spec."""
    connections = {"Cache": {**CONNECTION, "connection_string": server.address}}
    async with running_scaler(server, connections=connections, scaler={"trust_network": True}) as scaler:
        for metadata in (LIST, STREAM):
            assert await scaler.keda.target(metadata) == 0
        assert await scaler.keda.target(PUBSUB) == 1
        for outside in (
            {**LIST, "keys": "orders"},
            {**LIST, "keys": "shop:orders others:orders"},
            {**LIST, "keys": "SHOP:orders"},
            {**STREAM, "keys": "shop"},
            {**PUBSUB, "channel": "sh*"},
            {**PUBSUB, "channel": "__keyspace@0__:*"},
        ):
            for call in (scaler.keda.target, scaler.keda.active):
                with failure(StatusCode.PERMISSION_DENIED, "'cache'", "`key_prefixes`"):
                    await call(outside)
            assert (await scaler.keda.spec(outside)).targetSize == 1


@pytest.mark.parametrize(
    ("channel", "pattern", "inside"),
    [
        ("shop:a", None, True),
        ("shop:*", None, True),
        ("shop:", True, True),
        ("s*", None, False),
        ("[s]hop:a", None, False),
        ("?hop:a", None, False),
        (r"\shop:*", None, True),
        (r"shop\:*", None, True),
        (r"shop\*:", True, False),
        ("shop*", False, False),
        ("shop:*", False, True),
        ("__keyspace@0__:shop:*", None, True),
        ("__keyspace@1__:shop:*", None, False),
        ("__keyevent@0__:expired", None, False),
    ],
)
def test_channels(channel: str, pattern: bool | None, inside: bool) -> None:
    """A channel, or every channel that a pattern can match, must have one of the prefixes."""
    settings = load_settings(None, connections={"cache": CONNECTION})
    limits = limits_of(settings.connections["cache"])
    assert limits is not None
    access = Access(settings.redis_connections(), {"cache": limits})
    trigger = PubSubTrigger(channel=channel, pattern=pattern, connection="cache")
    if inside:
        access.resolve(trigger, "shop")
    else:
        with pytest.raises(ConnectionNotAllowedError):
            access.resolve(trigger, "shop")
    access.resolve(trigger, None)  # the operator has no limits


@pytest.mark.parametrize("limit", [{"namespaces": ["shop"]}, {"key_prefixes": ["shop:"]}])
def test_limits_need_trusted_namespaces(tmp_path: Path, limit: dict[str, list[str]]) -> None:
    """With limits the scaler starts only with mutual TLS or trust_network. TLS alone does not identify clients."""
    connections = {"open": "open:1", "cache": {"connection_string": "cache:1", **limit}}
    Authority().write(tmp_path)
    tls = {"certificate_file": tmp_path / "tls.crt", "key_file": tmp_path / "tls.key"}
    for scaler in ({}, {"tls": tls}):
        with pytest.raises(ConfigurationError, match=r"'cache'.*client_ca_file.*scaler\.trust_network"):
            ScalerServer(scaler_settings(connections=connections, scaler=scaler))
    for trusted in ({"trust_network": True}, {"tls": {**tls, "client_ca_file": tmp_path / "ca.crt"}}):
        ScalerServer(scaler_settings(connections=connections, scaler=trusted))


def test_an_empty_prefix() -> None:
    """An empty prefix is an error that names it, since it would limit nothing."""
    with pytest.raises(ConfigurationError, match=r"^connections\.cache\.key_prefixes\.0"):
        load_settings(None, connections={"cache": {"connection_string": "h", "key_prefixes": [""]}})
