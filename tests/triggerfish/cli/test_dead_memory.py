"""`triggerfish dead` needs little memory, however many large dead letters there are."""

import asyncio
import sys
from pathlib import Path

import pytest
import redis.asyncio

from listeners.functions.entries import Entry
from listeners.keys import dead_letters_key
from tests.support.letters import letter_fields
from tests.support.programs.environment import environment
from tests.support.programs.hosts import ROOT
from triggerfish.testing.server import Server

LETTERS, MEBIBYTE = 300, 1024 * 1024
#: Runs the command of its arguments, and reports the most memory that it needed.
MEASURED = """
import atexit, runpy, sys
peak = lambda: [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
atexit.register(lambda: print(*peak(), file=sys.stderr))
runpy.run_module("triggerfish", run_name="__main__")
"""
#: Adds dead letters with a payload of the given size.
ADD = """
local fields = {unpack(ARGV, 3)}
fields[#fields + 1], fields[#fields + 2] = 'payload', string.rep('x', ARGV[2])
local id
for _ = 1, ARGV[1] do id = redis.call('XADD', KEYS[1], '*', unpack(fields)) end
return id
"""


async def dead(server: Server, *arguments: str) -> tuple[str, int]:
    """Run `triggerfish dead`. Returns what it printed, and the most memory that it needed, in bytes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MEASURED,
        "dead",
        *arguments,
        cwd=ROOT,
        env=environment(CONNECTION=server.address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    [line] = [line for line in errors.decode().splitlines() if line.startswith("VmHWM")]
    return output.decode(), int(line.split()[1]) * 1024


@pytest.mark.releases("valkey-9.1")
async def test_many_large_letters(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """Letters of 1 MB, more in all than the memory allowed, are listed without their contents, and one is shown."""
    (tmp_path / "app.py").write_text(
        "from triggerfish import App\n\napp = App()\n\n\n"
        '@app.list_trigger(keys="work")\nasync def on_element(element: str) -> None:\n    """Do nothing."""\n'
    )
    app, key = str(tmp_path / "app.py"), dead_letters_key("work")
    fields = letter_fields(Entry("work", payload=b""), "on_element")[:-2]
    for _ in range(LETTERS // 100):
        last: bytes = await client.eval(ADD, 1, key, 100, MEBIBYTE, *fields)
    for command, shown in (
        (["list", app, "on_element", "--limit", str(LETTERS)], "ValueError: no good"),
        (["summary", app], str(LETTERS)),
        (["show", app, "on_element", last.decode()], "xxx"),
    ):
        output, peak = await dead(server, *command)
        assert shown in output.replace(",", ""), command
        assert peak < 120 * MEBIBYTE, (command, peak)
    await client.delete(key)
