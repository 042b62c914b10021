"""Entries that a blocked function releases may be about to start: each is called once."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
import redis.asyncio

from listeners.engine.calling.executor import Executor
from listeners.errors import SourceTimeoutError
from listeners.functions.entries import Entry
from listeners.lists.source import ListSource
from listeners.streams.source import StreamSource
from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import Kind, add, both_kinds, payload_of, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, Host, RedisMessage

pytestmark = [pytest.mark.usefixtures("quick_retries", "quick_reclaims"), pytest.mark.releases(*REPRESENTATIVE)]


class Race:
    """Blocks a function while it takes its first entries, and ends that while they are being released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: Kind, error: Exception | None) -> None:
        self.host: Host | None = None
        self.released: list[Entry] = []
        self._blocked = False
        self._error = error
        self._source: type[ListSource | StreamSource] = ListSource if kind == "list" else StreamSource
        self._take, self._release = self._source.take, self._source.release
        monkeypatch.setattr(Executor, "blocked", property(lambda _: self._blocked))
        race = self

        async def take(source: ListSource | StreamSource, count: int, max_bytes: int) -> list[Entry]:
            return await race.take(source, count, max_bytes)

        async def release(source: ListSource | StreamSource, entries: Sequence[Entry]) -> None:
            await race.release(source, entries)

        monkeypatch.setattr(self._source, "take", take)
        monkeypatch.setattr(self._source, "release", release)

    async def take(self, source: ListSource | StreamSource, count: int, max_bytes: int) -> list[Entry]:
        """Take entries. The first ones arrive just after as many calls as may run have timed out."""
        entries: list[Entry] = await self._take(source, count, max_bytes)  # type: ignore[arg-type]
        if entries and not self.released:
            self._blocked = True
        return entries

    async def release(self, source: ListSource | StreamSource, entries: Sequence[Entry]) -> None:
        """Release entries. When the first are on their way, a call that timed out ends."""
        first = bool(entries) and not self.released
        if first:
            assert self.host is not None
            self.released.extend(entries)
            self._blocked = False
            self.host.listeners[0].resume()
            if self._error is not None:
                raise self._error
        await self._release(source, entries)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [None, SourceTimeoutError("no answer")], ids=["released", "refused"])
@both_kinds
async def test_entries_released_while_they_may_start(
    client: redis.asyncio.Redis,
    run_host: RunHost,
    kind: Kind,
    error: Exception | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A function that may call again while its entries are being released calls each once, released or not."""
    race = Race(monkeypatch, kind, error)
    app, handled, last = App(), Counter[str](), asyncio.Event()

    @trigger(app, kind)
    async def on_entry(message: RedisMessage) -> None:
        handled[payload_of(message)] += 1
        if payload_of(message) == "later":
            last.set()
        await last.wait()  # so that a call that began too early is still running when the entry is taken again

    async with run_host(app, lease_seconds=3600) as host:
        race.host = host
        await add(client, kind, *"abc")
        await eventually(lambda: race.released)
        await add(client, kind, "later")
        await eventually(lambda: set(handled) == {*"abc", "later"})
        await eventually(lambda: settled(client, kind))
    assert set(handled.values()) == {1}, handled
