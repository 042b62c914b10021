"""Keys of a cluster that cannot be reached for a moment, while the server reports their changes all the time."""

from collections import Counter
from typing import Any

import pytest

from listeners.errors import SourceUnavailableError
from listeners.redis.client import Client
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.support.running_host import running_host
from tests.support.trigger_kinds import Kind, both_kinds
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

#: A function that spins reads thousands of times in the time that some probes take.
MANY_READS = 300


@both_kinds
async def test_a_key_that_returns(monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """Its entries are called as soon as it can be reached again, and it does not keep the function busy before."""
    unreachable, sent, handled = set[str](), Counter[str](), list[str]()
    command, transaction, run_script = Client.command, Client.transaction, Client.run_script

    async def refusing(self: Client, key: str | None, *words: Any, doing: str) -> Any:
        sent[words[0]] += 1
        if key in unreachable:
            raise SourceUnavailableError(f"{doing}: max number of clients reached")
        return await command(self, key, *words, doing=doing)

    async def refusing_transaction(self: Client, key: str, commands: Any, *, doing: str) -> Any:
        if key in unreachable:
            raise SourceUnavailableError(f"{doing}: max number of clients reached")
        return await transaction(self, key, commands, doing=doing)

    async def refusing_script(self: Client, lua: Any, keys: Any, arguments: Any, *, doing: str) -> Any:
        sent["EVALSHA"] += 1
        if keys[0] in unreachable:
            raise SourceUnavailableError(f"{doing}: max number of clients reached")
        return await run_script(self, lua, keys, arguments, doing=doing)

    monkeypatch.setattr(Client, "command", refusing)
    monkeypatch.setattr(Client, "run_script", refusing_script)
    monkeypatch.setattr(Client, "transaction", refusing_transaction)
    with Cluster(RELEASES["valkey-9.1"]) as cluster, cluster.client() as client:
        away = "a"
        here = next(key for key in "bcdefgh" if cluster.node_of(key) is not cluster.node_of(away))
        app = App()

        decorator = app.list_trigger if kind == "list" else app.stream_trigger

        @decorator(keys=f"{away} {here}", polling_interval_ms=600_000)
        async def handle(message: RedisMessage) -> None:
            handled.append(message.trigger)

        def add(key: str) -> None:
            client.rpush(key, "x") if kind == "list" else client.xadd(key, {"payload": "x"})

        async with running_host(cluster, app, lease_seconds=3) as host:
            for round_ in range(1, 6):  # until changes are reported
                add(here)
                await eventually(lambda: handled.count(here) == round_)  # noqa: B023
            unreachable.add(away)
            add(away)
            errors = "triggerfish_source_errors_total"
            labels = {"app": "test", "function": "handle", "reason": "unavailable"}
            add(here)
            await eventually(lambda: handled.count(here) == 6)
            await eventually(lambda: (host.registry.get_sample_value(errors, labels) or 0) >= 3)
            assert away not in handled
            assert sent["EVALSHA"] + sent["XREADGROUP"] < MANY_READS
            unreachable.clear()
            await eventually(lambda: handled.count(away) == 1, seconds=20)
