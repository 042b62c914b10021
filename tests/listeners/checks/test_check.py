"""What `check` reports about permissions and settings, on every server release."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
from pydantic import SecretStr

from listeners.checks.check import CheckResult, acl_commands, check
from listeners.connections.named import Connections
from listeners.redis.acl import PASSWORD
from listeners.settings import HostSettings
from tests.servers.catalogue import RELEASES, REPRESENTATIVE
from tests.servers.sentinels import Sentinels
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

with_acl = pytest.mark.releases(*(name for name in RELEASES if name != "redis-5.0"))


def every_kind() -> App:
    """Return an app with a stream, a channel, and a list whose key has every special character of a rule."""
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
    """The connection of a user with exactly the rule for `every_kind`."""
    [(_, line)] = [result async for result in acl_commands(every_kind(), Connections(SecretStr(server.address)))]
    await client.execute_command(*line.split())
    yield Connections(SecretStr(f"{server.address},user=shop,password={PASSWORD}"))
    await client.execute_command("ACL", "DELUSER", "shop")


async def check_results(connections: Connections) -> dict[str, CheckResult]:
    """Return the results of `check` by function."""
    return {result.function: result async for result in check(every_kind(), connections, HostSettings())}


@with_acl
async def test_the_rule_covers_odd_names(client: redis.asyncio.Redis, user: Connections) -> None:
    """The rule covers keys with spaces, quotes and glob characters, and `check` writes nothing."""
    findings = await check_results(user)
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
@pytest.mark.parametrize("method", ["queued", "dry run"])
async def test_a_command_that_is_denied(
    client: redis.asyncio.Redis, user: Connections, version: tuple[int, ...], method: str
) -> None:
    """Each needed command that the ACL denies is reported with the fix, whether or not the user may run ACL DRYRUN."""
    if method == "dry run":
        if version < (7,):
            return
        await client.execute_command("ACL", "SETUSER", "shop", "+acl|whoami", "+acl|dryrun")
    for rule, function, command in DENIED:
        await client.execute_command("ACL", "SETUSER", "shop", rule)
        findings = await check_results(user)
        broken = {name: found.detail for name, found in findings.items() if not found.works}
        assert command in broken.pop(function)
        assert all(command in line for line in broken.values()), (rule, broken)
        assert "check --acl" in findings[function].detail
        restore = "+xgroup" if rule == "-xgroup" else rule.replace("-", "+")
        await client.execute_command("ACL", "SETUSER", "shop", restore)
    assert await client.dbsize() == 0


@with_acl
async def test_a_denied_command_that_only_the_scaler_needs(client: redis.asyncio.Redis, user: Connections) -> None:
    """A denied command that only measuring needs is a warning: the trigger can be read."""
    await client.execute_command("ACL", "SETUSER", "shop", "-llen")
    found = (await check_results(user))["on_element"]
    assert found.works
    assert any("measuring" in warning and "LLEN" in warning for warning in found.warnings)


@with_acl
async def test_a_user_who_may_not_measure_keys(client: redis.asyncio.Redis, user: Connections) -> None:
    """Without MEMORY USAGE, only the bound in bytes of dead letters is missing: `dead` works."""
    await client.execute_command("ACL", "SETUSER", "shop", "-memory")
    found = (await check_results(user))["on_element"]
    assert found.works
    [warning] = [warning for warning in found.warnings if "MEMORY denied" in warning]
    assert "dead letters are bounded in number but not in size" in warning
    assert not any("will fail" in warning for warning in found.warnings)


@with_acl
async def test_keys_and_channels_that_are_denied(
    client: redis.asyncio.Redis, user: Connections, version: tuple[int, ...]
) -> None:
    """Without access to the key, or from Redis 6.2 to the channel, the trigger cannot be read."""
    reset = ["resetkeys", *(["resetchannels"] if version >= (6, 2) else []), "~s", "~triggerfish:{s}:*"]
    await client.execute_command("ACL", "SETUSER", "shop", *reset)
    findings = await check_results(user)
    assert {name: found.works for name, found in findings.items()} == {
        "on_element": False,
        "on_entry": True,
        "on_message": False,
    }
    assert ("; SUBSCRIBE" in findings["on_message"].detail) == (version >= (6, 2))


async def test_a_renamed_command() -> None:
    """A command that was renamed away is reported too, even on a server without ACL."""
    with RELEASES["redis-5.0"].start("--rename-command", "EVALSHA", "") as server:
        findings = await check_results(Connections(SecretStr(server.address)))
    assert "EVALSHA denied" in findings["on_element"].detail
    assert not findings["on_element"].works


SAVES = {"save": "900 1"}
NOT_PERSISTENT = "Redis persists nothing"


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, {"on_element": [NOT_PERSISTENT]}),
        (SAVES, {}),
        ({"appendonly": "yes"}, {}),
        ({**SAVES, "maxmemory-policy": "allkeys-lru"}, {"on_element": ["evict lists, streams"]}),
        ({**SAVES, "maxmemory-policy": "allkeys-random"}, {"on_element": ["evict lists, streams"]}),
        ({**SAVES, "maxmemory-policy": "volatile-ttl"}, {"on_element": ["evict a pub/sub lease"]}),
        ({"maxmemory-policy": "allkeys-lru"}, {"on_element": ["evict lists, streams", NOT_PERSISTENT]}),
    ],
)
@pytest.mark.releases(*REPRESENTATIVE)
async def test_settings_that_may_lose_entries(
    client: redis.asyncio.Redis, server: Server, settings: dict[str, Any], warned: dict[str, list[str]]
) -> None:
    """Eviction and missing persistence cause one warning per server, each with the command that fixes it."""
    before = {name: (await client.config_get(name))[name] or "" for name in ("save", "appendonly", "maxmemory-policy")}
    try:
        for name, value in settings.items():
            await client.config_set(name, value)
        findings = await check_results(Connections(SecretStr(server.address)))
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


async def test_a_primary_that_accepts_writes_without_a_replica() -> None:
    """Under Sentinel, a primary that accepts writes without a replica is a warning: it does so after a failover."""
    with Sentinels(RELEASES["valkey-9.1"], "--save", SAVES["save"]) as sentinels, sentinels.primary.client() as primary:

        async def warnings(address: str) -> list[str]:
            findings = await check_results(Connections(SecretStr(address)))
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
async def test_unreadable_settings(client: redis.asyncio.Redis, user: Connections, server: Server) -> None:
    """Where CONFIG GET is denied, as on managed servers, settings that INFO does not report are reported as unknown."""
    found = (await check_results(user))["on_element"]
    assert [("persists its data is unknown" in warning) for warning in found.warnings] == [True]
    await client.execute_command("ACL", "SETUSER", "shop", "-info")
    found = (await check_results(user))["on_element"]
    assert [("is unknown" in warning) for warning in found.warnings] == [True, True]


@pytest.mark.releases("redis-5.0")
async def test_a_server_without_acl(server: Server) -> None:
    """Without ACL, `check --acl` prints a comment."""
    [(_, line)] = [result async for result in acl_commands(every_kind(), Connections(SecretStr(server.address)))]
    assert line.startswith("# Redis 5.0.6 has no ACL")
