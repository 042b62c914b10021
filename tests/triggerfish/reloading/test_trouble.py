"""`--reload` in trouble: many changes, calls and imports that hang, signals, taken ports, and invalid options."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio

from tests.support.programs.commands import Command, running_command
from tests.support.programs.environment import environment
from tests.support.waiting import eventually
from tests.triggerfish.cli.test_start import has_reader
from tests.triggerfish.reloading.apps import APP, COMMANDS, handled, handles, source, write
from triggerfish.testing.server import Server, free_port

pytestmark = [pytest.mark.releases("valkey-9.1"), pytest.mark.timeout(240)]

NEWS = """
@app.pubsub_trigger(channel="news")
async def on_news(message: str) -> None:
    await client.rpush("news", f"{VERSION} {message}")
"""


async def test_many_changes(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """Of many changes within a moment, all of one size, the last counts, and no call is lost or repeated."""
    app = tmp_path / "shop.py"
    app.write_text(source("v100"))
    with running_command(tmp_path, *COMMANDS["run"], "shop.py", CONNECTION=server.address) as command:
        await handles(client, "v100")
        await client.delete("handled")
        for number in range(101, 111):
            app.write_text(source(f"v{number}"))
            await client.rpush("orders", number)
        await handles(client, "v110")
        assert await command.terminate() == 0
    elements = [line.split()[1] for line in await handled(client)]
    assert sorted(one for one in elements if one != "probe") == [str(number) for number in range(101, 111)]


async def test_a_module_in_compiled_form(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """A module that keeps its size and its time in seconds is imported as it is, not as it was compiled before."""
    module = tmp_path / "version_of_shop.py"
    module.write_text("VERSION = 'v1'\n")
    os.utime(module, (1_000_000_000, 1_000_000_000))
    write(tmp_path / "shop.py", APP.replace('VERSION = "one"', "from version_of_shop import VERSION"))
    with running_command(tmp_path, *COMMANDS["run"], "shop.py", CONNECTION=server.address) as command:
        await handles(client, "v1")
        new = tmp_path / "new"
        new.write_text("VERSION = 'v2'\n")
        os.utime(new, (1_000_000_000, 1_000_000_000))
        new.rename(module)
        await handles(client, "v2")
        assert await command.terminate() == 0


async def test_messages(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """Pub/sub messages that arrive during a change are called once each, by the old or by the new app."""
    write(tmp_path / "shop.py", APP + NEWS)
    with running_command(tmp_path, *COMMANDS["run"], "shop.py", CONNECTION=server.address) as command:
        await eventually(lambda: _published(client, "0"), seconds=60)
        write(tmp_path / "shop.py", source("two") + NEWS)
        number = 0
        while f"two {number}" not in await handled(client, "news"):
            number += 1
            await client.publish("news", number)
            await eventually(functools.partial(_is_called_with, client, number))
        assert await command.terminate() == 0
    received = [int(line.split()[1]) for line in await handled(client, "news")]
    assert received == list(range(number + 1))


async def _is_called_with(client: redis.asyncio.Redis, number: int) -> bool:
    return len(await handled(client, "news")) > number


async def _published(client: redis.asyncio.Redis, message: str) -> bool:
    return bool(await client.publish("news", message))


async def test_a_call_that_hangs(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """While a call of the old app hangs, the new one works, and has the entry once the old one has been killed."""
    hanging = APP.replace(
        '    await client.rpush("handled"', '    import time; time.sleep(600)\n    await client.rpush("handled"'
    )
    write(tmp_path / "shop.py", hanging)
    settings = {"HOST__GRACE_PERIOD_SECONDS": "1", "HOST__LEASE_SECONDS": "2"}
    with running_command(tmp_path, *COMMANDS["run"], "shop.py", CONNECTION=server.address, **settings) as command:
        await client.rpush("orders", "hang")
        await eventually(lambda: client.llen("started"), seconds=60)
        write(tmp_path / "shop.py", source("two"))
        await handles(client, "two")
        await command.logged("did not exit in time, killing it")
        await eventually(lambda: _is_handled(client, "two hang"), seconds=60)
        assert await command.terminate() == 0


async def _is_handled(client: redis.asyncio.Redis, line: str) -> bool:
    return line in await handled(client)


@pytest.mark.parametrize("name", ["run", "up"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_import_that_takes_long(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    """While the changed app is imported, the old one goes on; a newer change counts, and a signal ends all at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    write(tmp_path / "shop.py", APP)
    with running_command(tmp_path, *COMMANDS[name], "shop.py", CONNECTION=server.address) as command:
        await handles(client, "one")
        write(tmp_path / "shop.py", f"open({str(pipe)!r}).read()\n{source('two')}")
        await eventually(lambda: has_reader(pipe), seconds=60)
        await client.delete("handled")
        await handles(client, "one")
        write(tmp_path / "shop.py", source("three"))
        await handles(client, "three")
        assert not has_reader(pipe)
        write(tmp_path / "shop.py", f"open({str(pipe)!r}).read()\n{source('four')}")
        await eventually(lambda: has_reader(pipe), seconds=60)
        command.process.send_signal(number)
        await eventually(lambda: command.process.poll() is not None)
        assert command.process.returncode == 0
        await eventually(lambda: not has_reader(pipe))


async def test_a_later_signal_exits_at_once(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """A signal a second after the first ends the command and its process, while a call is still running."""
    write(tmp_path / "shop.py", APP)
    with running_command(tmp_path, *COMMANDS["run"], "shop.py", CONNECTION=server.address) as command:
        await client.set("hold:x", "1")
        await client.rpush("orders", "x")
        await eventually(lambda: client.llen("started"), seconds=60)
        assert await _terminated(command) == 128 + signal.SIGTERM
        await eventually(lambda: _no_clients(client))


async def _terminated(command: Command) -> int:
    def ended() -> bool:
        command.process.terminate()
        return command.process.poll() is not None

    await eventually(ended)
    return command.process.returncode


async def _no_clients(client: redis.asyncio.Redis) -> bool:
    return not any(one["name"].startswith("triggerfish") for one in await client.client_list())


async def test_the_http_port(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """The new process serves on the port of the old one, also while that one has not drained yet."""
    write(tmp_path / "shop.py", APP)
    port = free_port()
    options = (*COMMANDS["run"], "shop.py", "--http-port", str(port))
    with running_command(tmp_path, *options, CONNECTION=server.address) as command:
        await client.set("hold:held", "1")
        await client.rpush("orders", "held")
        await eventually(lambda: client.llen("started"), seconds=60)
        write(tmp_path / "shop.py", source("two"))
        await handles(client, "two")
        await client.delete("hold:held")
        await command.logged("has drained")
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as response:
            assert (response.status, await response.text()) == (200, "ok\n")
        assert await command.terminate() == 0
    assert "cannot be bound" not in command.errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("run", "missing.py"), "There is no such file"),
        (("up", "missing.py"), "There is no such file"),
        (("run", "shop.py", "--until-empty"), "--until-empty ends. Give one of them."),
        (("run", "shop.py", "--config", "missing.yaml"), "There is no such file"),
        (("run", "redis://:hunter2@cache"), "It is a connection"),
    ],
)
def test_invalid_options(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    """What no change of the app's files can repair ends the command with status 2 and one line."""
    write(tmp_path / "shop.py", APP)
    done = subprocess.run(
        [sys.executable, "-m", "triggerfish", *options, "--reload"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert words in line
    assert "hunter2" not in line
