"""The example with start-up work, a context and middleware."""

import sqlite3
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.programs.commands import running_command
from tests.support.trigger_kinds import dead_letters, settled
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

APP = Path(__file__).parents[2] / "examples" / "orders" / "app.py"


@pytest.mark.releases("valkey-9.1")
async def test_orders_are_stored(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders are stored and counted, each call is logged, a bad order is rejected, and the database is closed."""
    monkeypatch.setenv("ORDERS_DATABASE", str(tmp_path / "orders.db"))
    orders = [f'{{"number": {number}, "amount": 5}}' for number in (1, 2, 3)]
    await client.rpush("orders", *orders, '{"number": 4, "amount": -1}')
    with running_command(tmp_path, "run", str(APP), CONNECTION=server.address) as command:
        await eventually(lambda: dead_letters(client, key="orders"))
        await eventually(lambda: client.pfcount("orders:stored"))
        await eventually(lambda: command.errors.count("triggerfish.function: store orders: took") == 4)
        await eventually(lambda: settled(client, "list", key="orders"))
        assert await command.terminate() == 0
        assert command.output == "the database is closed\n"
    [letter] = await dead_letters(client, key="orders")
    assert letter[b"error"] == b"Reject: negative amount"
    assert await client.pfcount("orders:stored") == 3
    stored = sqlite3.connect(tmp_path / "orders.db").execute("SELECT number FROM orders ORDER BY number").fetchall()
    assert stored == [(1,), (2,), (3,)]
