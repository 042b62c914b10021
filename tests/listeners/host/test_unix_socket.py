"""A host that reaches Redis over a Unix socket."""

from pathlib import Path

import pytest

from tests.servers.catalogue import RELEASES
from tests.support.running_host import running_host
from tests.support.waiting import eventually
from triggerfish import App


class Socket:
    """The address of a server's Unix socket."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix://{path}?db=1"


@pytest.mark.parametrize("release", ["redis-5.0", "redis-7.2", "valkey-9.1"])
async def test_every_kind_of_trigger(release: str, tmp_path: Path) -> None:
    """Lists, streams and pub/sub work over a Unix socket, in another database."""
    socket, handled = tmp_path / "r.sock", set[str]()
    app = App()

    @app.list_trigger(keys="q", polling_interval_ms=20)
    async def on_element(element: str) -> None:
        handled.add(element)

    @app.stream_trigger(keys="s", polling_interval_ms=20)
    async def on_entry(fields: dict[str, str]) -> None:
        handled.add(fields["name"])

    @app.pubsub_trigger(channel="c")
    async def on_message(message: str) -> None:
        handled.add(message)

    with RELEASES[release].start("--unixsocket", str(socket)) as server, server.client() as client:
        client.select(1)
        async with running_host(Socket(socket), app):
            await eventually(lambda: client.publish("c", "message"))
            client.rpush("q", "element")
            client.xadd("s", {"name": "entry"})
            await eventually(lambda: handled == {"message", "element", "entry"})
