"""`--reload` in a project of Azure Functions, which no command line needs to name."""

import json
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.programs.commands import running_command
from tests.support.waiting import eventually
from tests.triggerfish.functions_project.projects import LIST, add_function, new_project
from tests.triggerfish.reloading.apps import COMMANDS, write
from triggerfish.testing.server import Server

pytestmark = [pytest.mark.releases("valkey-9.1"), pytest.mark.timeout(240)]

FUNCTION = """
import os
from pathlib import Path


def main(entry: str) -> None:
    with Path("handled").open("a") as file:
        file.write(f"one {os.environ['GREETING']} {entry}\\n")
"""


@pytest.mark.parametrize("options", COMMANDS.values(), ids=COMMANDS)
async def test_a_project(server: Server, client: redis.asyncio.Redis, tmp_path: Path, options: tuple[str, ...]) -> None:
    """A change of its code, of function.json or of local.settings.json is used from then on. So is a new function."""
    new_project(tmp_path, connection=server.address, values={"GREETING": "hello"})
    add_function(tmp_path, "Work", FUNCTION, LIST)

    async def handles(line: str, key: str = "work") -> None:
        async def is_handled() -> bool:
            if not await client.exists(key):
                await client.rpush(key, "probe")
            return line in (tmp_path / "handled").read_text().splitlines() if (tmp_path / "handled").exists() else False

        await eventually(is_handled, seconds=60)

    with running_command(tmp_path, *options) as command:
        await handles("one hello probe")
        write(tmp_path / "Work" / "__init__.py", FUNCTION.replace("one ", "two "))
        await handles("two hello probe")
        local = json.loads((tmp_path / "local.settings.json").read_text())
        local["Values"]["GREETING"] = "bye"
        write(tmp_path / "local.settings.json", json.dumps(local))
        await handles("two bye probe")
        write(tmp_path / "Work" / "function.json", json.dumps({"bindings": [{**LIST, "key": "other"}]}))
        await handles("two bye probe", "other")
        await command.logged("function.json changed: loading the app")
        (tmp_path / "More").mkdir()
        write(tmp_path / "More" / "__init__.py", FUNCTION.replace("one ", "more "))
        write(tmp_path / "Work" / "__init__.py", FUNCTION.replace("one ", "three "))
        await handles("three bye probe", "other")
        write(tmp_path / "More" / "function.json", json.dumps({"bindings": [{**LIST, "key": "more"}]}))
        await handles("more bye probe", "more")
        assert await command.terminate() == 0
    assert "the app is ." in command.errors
