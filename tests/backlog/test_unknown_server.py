"""A server that does not say what it is: fakeredis, which has no INFO, stands in for it."""

from typing import Any

from fakeredis import FakeAsyncRedis

from listeners.client import learn_server
from listeners.server import Server
from listeners.triggers import StreamTrigger
from scaler.backlog import Backlog, CountMemory, Subject, measure


def _plain(fake: FakeAsyncRedis) -> FakeAsyncRedis:
    """Answers as the server sends them, as open_client has it."""
    fake.response_callbacks.clear()
    return fake


async def test_it_counts_as_the_oldest_one() -> None:
    """Without INFO nothing newer is relied on than what the oldest server has."""
    server = await learn_server(FakeAsyncRedis())
    assert server == Server()
    assert not server.has(6, 2)


async def test_its_lag_is_counted() -> None:
    """Where the server's lag cannot be trusted, the entries that wait are counted."""
    fake: Any = _plain(FakeAsyncRedis(protocol=2))
    for number in range(1, 11):
        await fake.execute_command("XADD", "s", f"{number}-0", "f", "v")
    await fake.execute_command("XGROUP", "CREATE", "s", "g", "4-0")
    await fake.execute_command("XDEL", "s", "7-0")
    subject = Subject(StreamTrigger(keys=("s",), consumer_group="g"))
    found = (await measure(fake, Server(), [subject], CountMemory()))[subject]
    assert isinstance(found, Backlog)
    assert found.entries == 5
