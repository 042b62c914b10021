"""`--reload` of apps whose start-up work fails or waits for the old app."""

from pathlib import Path

import pytest
import redis.asyncio

from tests.support.programs.commands import running_command
from tests.triggerfish.reloading.apps import APP, COMMANDS, handles, source, write
from triggerfish.testing.server import Server, free_port

pytestmark = [pytest.mark.releases("valkey-9.1"), pytest.mark.timeout(240)]

#: Binds a port that only one process may have.
LIFESPAN = """
@app.lifespan
async def listening():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", {port}, reuse_port=False)
    yield server
    server.close()
"""


async def test_what_only_one_process_may_have(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """A lifespan that fails because the old process has what it needs succeeds once that one has drained."""
    lifespan = LIFESPAN.format(port=free_port())
    write(tmp_path / "shop.py", APP + lifespan)
    with running_command(tmp_path, *COMMANDS["run"], "shop.py", CONNECTION=server.address) as command:
        await handles(client, "one")
        write(tmp_path / "shop.py", source("two") + lifespan)
        await command.logged("the lifespan failed")
        await handles(client, "two")
        assert await command.terminate() == 0
