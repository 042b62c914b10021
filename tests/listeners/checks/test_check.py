"""What `check` says of permissions and settings, on every server release."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
from pydantic import SecretStr

from listeners.checks.check import CheckResult, acl_commands, check
from listeners.connections.named import Connections
from listeners.redis.acl import PASSWORD
from listeners.settings import HostSettings
from tests.servers.catalogue import RELEASES
from tests.servers.sentinels import Sentinels
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

with_acl = pytest.mark.releases(*(name for name in RELEASES if name != "redis-5.0"))


def every_kind() -> App:
    """A list whose key has every character that is special in a rule, a stream and a channel."""
    app = App("shop")

    @app.list_trigger(keys=["q", r"a b*?[c]\d'e\"f\n"])
    async def on_element(message: RedisMessage) -> None: ...

    @app.stream_trigger(keys="s")
    async def on_entry(message: RedisMessage) -> None: ...

    @app.pubsub_trigger(channel="c")
    async def on_message(message: RedisMessage) -> None: ...

    return app


@pytest.fixture
async def user(client: redis.asyncio.Redis, server: Server) -> AsyncIterator[Connections]:
    """The connection of a user with exactly the rule that `every_kind` needs."""
    [(_, line)] = [found async for found in acl_commands(every_kind(), Connections(SecretStr(server.address)))]
    await client.execute_command(*line.split())
    yield Connections(SecretStr(f"{server.address},user=shop,password={PASSWORD}"))
    await client.execute_command("ACL", "DELUSER", "shop")


async def looked_at(connections: Connections) -> dict[str, CheckResult]:
    """What `check` finds, by function."""
    return {found.function: found async for found in check(every_kind(), connections, HostSettings())}


@with_acl
async def test_the_rule_is_for_exactly_these_names(client: redis.asyncio.Redis, user: Connections) -> None:
    """Keys with spaces, quotes and glob characters are covered by the rule, and `check` changes nothing."""
    findings = await looked_at(user)
    assert [found.detail for found in findings.values() if not found.works] == []
    assert await client.dbsize() == 0


DENIED = [
    ("-evalsha", "on_element", "EVALSHA"),
    ("-ltrim", "on_element", "LTRIM"),
    ("-hset", "on_element", "HSET"),
    ("-xreadgroup", "on_entry", "XREADGROUP"),
    ("-xclaim", "on_entry", "XCLAIM"),
    ("-xgroup", "on_entry", "XGROUP"),
    ("-subscribe", "on_message", "SUBSCRIBE"),
    ("-incr", "on_message", "INCR"),
]


@with_acl
@pytest.mark.parametrize("way", ["queued", "dry run"])
async def test_a_command_that_is_denied(
    client: redis.asyncio.Redis, user: Connections, version: tuple[int, ...], way: str
) -> None:
    """Each needed command that the ACL denies is named, with the fix, whether or not the user may use ACL DRYRUN."""
    if way == "dry run":
        if version < (7,):
            return
        await client.execute_command("ACL", "SETUSER", "shop", "+acl|whoami", "+acl|dryrun")
    for rule, function, command in DENIED:
        await client.execute_command("ACL", "SETUSER", "shop", rule)
        findings = await looked_at(user)
        broken = {name: found.detail for name, found in findings.items() if not found.works}
        assert command in broken.pop(function)
        assert all(command in line for line in broken.values()), (rule, broken)
        assert "check --acl" in findings[function].detail
        restore = "+xgroup" if rule == "-xgroup" else rule.replace("-", "+")
        await client.execute_command("ACL", "SETUSER", "shop", restore)
    assert await client.dbsize() == 0


@with_acl
async def test_what_only_the_scaler_needs(client: redis.asyncio.Redis, user: Connections) -> None:
    """A command that is needed for measuring only is a warning: the trigger can be read."""
    await client.execute_command("ACL", "SETUSER", "shop", "-llen")
    found = (await looked_at(user))["on_element"]
    assert found.works
    assert any("measuring" in warning and "LLEN" in warning for warning in found.warnings)


@with_acl
async def test_keys_and_channels_that_are_denied(
    client: redis.asyncio.Redis, user: Connections, version: tuple[int, ...]
) -> None:
    """A user without the key, or from 6.2 on without the channel, is told which trigger cannot be read."""
    reset = ["resetkeys", *(["resetchannels"] if version >= (6, 2) else []), "~s", "~triggerfish:{s}:*"]
    await client.execute_command("ACL", "SETUSER", "shop", *reset)
    findings = await looked_at(user)
    assert {name: found.works for name, found in findings.items()} == {
        "on_element": False,
        "on_entry": True,
        "on_message": False,
    }
    assert ("; SUBSCRIBE" in findings["on_message"].detail) == (version >= (6, 2))


async def test_a_command_that_is_not_there() -> None:
    """A command that was renamed away is named too, also by servers without ACL."""
    with RELEASES["redis-5.0"].start("--rename-command", "EVALSHA", "") as server:
        findings = await looked_at(Connections(SecretStr(server.address)))
    assert "EVALSHA denied" in findings["on_element"].detail
    assert not findings["on_element"].works


SAVES = {"save": "900 1"}
NOTHING_KEPT = "Redis keeps nothing on disk"


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, {"on_element": [NOTHING_KEPT]}),
        (SAVES, {}),
        ({"appendonly": "yes"}, {}),
        ({**SAVES, "maxmemory-policy": "allkeys-lru"}, {"on_element": ["evict lists, streams"]}),
        ({**SAVES, "maxmemory-policy": "allkeys-random"}, {"on_element": ["evict lists, streams"]}),
        ({**SAVES, "maxmemory-policy": "volatile-ttl"}, {"on_element": ["evict a pub/sub lease"]}),
        ({"maxmemory-policy": "allkeys-lru"}, {"on_element": ["evict lists, streams", NOTHING_KEPT]}),
    ],
)
async def test_settings_that_may_lose_entries(
    client: redis.asyncio.Redis, server: Server, settings: dict[str, Any], warned: dict[str, list[str]]
) -> None:
    """Eviction and no persistence are warned of, once for each server, with the command that mends it."""
    before = {name: (await client.config_get(name))[name] or "" for name in ("save", "appendonly", "maxmemory-policy")}
    try:
        for name, value in settings.items():
            await client.config_set(name, value)
        findings = await looked_at(Connections(SecretStr(server.address)))
    finally:
        for name, value in before.items():
            await client.config_set(name, value)
    assert all(found.works for found in findings.values())
    warnings = {name: found.warnings for name, found in findings.items() if found.warnings}
    assert warnings.keys() == warned.keys()
    for name, words in warned.items():
        assert len(warnings[name]) == len(words)
        for warning, word in zip(warnings[name], words, strict=True):
            assert word in warning
            assert "CONFIG SET" in warning


async def test_a_primary_that_needs_no_replica() -> None:
    """Under Sentinel a primary is to refuse what no replica takes over, or it works on after a fail-over."""
    with Sentinels(RELEASES["valkey-9.1"], "--save", SAVES["save"]) as sentinels, sentinels.primary.client() as primary:

        async def warnings(address: str) -> list[str]:
            findings = await looked_at(Connections(SecretStr(address)))
            return [warning for found in findings.values() for warning in found.warnings]

        [warning] = await warnings(sentinels.address)
        assert "CONFIG SET min-replicas-to-write 1" in warning
        assert await warnings(sentinels.primary.address) == []
        primary.config_set("min-replicas-to-write", 1)
        assert await warnings(sentinels.address) == []
        primary.config_set("min-replicas-max-lag", 0)
        [warning] = await warnings(sentinels.address)
        assert "CONFIG SET min-replicas-max-lag 10" in warning


@with_acl
async def test_settings_that_are_not_told(client: redis.asyncio.Redis, user: Connections, server: Server) -> None:
    """Where CONFIG GET is denied, as managed servers do, what INFO does not say is said to be not known."""
    found = (await looked_at(user))["on_element"]
    assert [("keeps its data on disk is not known" in warning) for warning in found.warnings] == [True]
    await client.execute_command("ACL", "SETUSER", "shop", "-info")
    found = (await looked_at(user))["on_element"]
    assert [("not known" in warning) for warning in found.warnings] == [True, True]


@pytest.mark.releases("redis-5.0")
async def test_a_server_without_acl(server: Server) -> None:
    """Where there is no ACL `check --acl` says so, as a comment."""
    [(_, line)] = [found async for found in acl_commands(every_kind(), Connections(SecretStr(server.address)))]
    assert line.startswith("# Redis 5.0.6 has no ACL")
