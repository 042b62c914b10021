"""The example with batches of which some entries fail."""

import sqlite3
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.programs.commands import running_command
from tests.support.trigger_kinds import dead_letters, settled
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

APP = Path(__file__).parents[2] / "examples" / "batches" / "app.py"


@pytest.mark.releases("redis-6.2", "valkey-9.1")
async def test_readings_are_stored(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is stored once, and only its bad readings become dead letters."""
    monkeypatch.setenv("READINGS_DATABASE", str(tmp_path / "readings.db"))
    readings = [("a", 20.5), ("c", 1), ("b", -300), ("b", 7)]
    await client.rpush("readings", *(f'{{"sensor": "{sensor}", "celsius": {celsius}}}' for sensor, celsius in readings))

    async def two_letters() -> bool:
        return len(await dead_letters(client, key="readings")) == 2

    with running_command(tmp_path, "run", str(APP), CONNECTION=server.address) as command:
        await eventually(two_letters)
        await eventually(lambda: settled(client, "list", key="readings"))
        assert await command.terminate() == 0
        assert command.output == "stored 2 of 4\nstored 0 of 1\n"
    errors = [letter[b"error"] for letter in await dead_letters(client, key="readings")]
    assert errors == [b"Reject: colder than possible", b"Retry: sensor c is not known yet"]
    stored = sqlite3.connect(tmp_path / "readings.db").execute("SELECT * FROM readings").fetchall()
    assert stored == [("a", 20.5), ("b", 7.0)]
