"""Projects as real processes on real servers."""

import json
import signal
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.programs.commands import running_command
from tests.support.waiting import eventually
from tests.triggerfish.functions_project.projects import (
    LIST,
    PUBSUB,
    STREAM,
    add_function,
    command,
    decorated,
    new_project,
)
from triggerfish.testing.server import Server

RELEASES = pytest.mark.releases("valkey-9.1", "redis-7.0", "redis-5.0")

#: Appends what it got to a list of the Redis that the setting `cache` names.
RECORDING = """
import json, os
import redis

client = redis.Redis.from_url(f"redis://{os.environ['ConnectionStrings:cache']}", protocol=2)


def main(entry, value):
    client.rpush("seen", json.dumps([entry, value]))
"""
WITHOUT_VALUE = RECORDING.replace("main(entry, value)", "main(entry)").replace("[entry, value]", "[entry]")
#: Never ends.
HANGING = WITHOUT_VALUE.replace('"seen", json.dumps([entry])', '"begun", entry') + "    client.blpop('never')\n"
DECORATED = """
import azure.functions as func

app = func.FunctionApp()


@app.function_name("Copy")
@app.generic_trigger(arg_name="entry", type="redisListTrigger", connection="cache", key="work")
@app.generic_input_binding(arg_name="price", type="redis", connection="cache", command="HGET prices {Value}")
@app.generic_output_binding(arg_name="result", type="redis", connection="cache", command="RPUSH")
@app.generic_output_binding(arg_name="$return", type="redis", connection="cache", command="DEL")
async def copy(entry: str, price: str, result: func.Out[str], context: func.Context) -> str:
    result.set([f"seen {entry}", f"seen {price} {context.retry_context.retry_count}"])
    return "old"
"""


async def seen(client: redis.asyncio.Redis) -> list[bytes]:
    """Return what the functions have recorded."""
    return [one for one in await client.lrange("seen", 0, -1) if isinstance(one, bytes)]


@RELEASES
async def test_the_three_triggers(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """An app that is started in another folder gets entries of each kind, with an input of each."""
    project = new_project(tmp_path / "shop", connection=server.address)
    add_function(project, "Elements", RECORDING, LIST, command("in", "GET {Value}"))
    add_function(project, "Entries", RECORDING, STREAM, command("in", "HGET {Key}:{Id} {Values.a}"))
    add_function(project, "Messages", RECORDING, PUBSUB, command("in", "GET {Message}"))
    await client.set("a", "x")
    await client.hset("events:5-1", "b", "y")
    with running_command(tmp_path, "run", "shop") as running:
        await running.logged("shop runs as")
        await eventually(lambda: subscribed(client, "news"))
        await client.rpush("work", "a")
        await client.xadd("events", {"a": "b"}, id="5-1")
        await client.publish("news", "a")
        await eventually(lambda: recorded(client, 3))
        assert await running.terminate() == 0
    message = '{"SubscriptionChannel":"news","Channel":"news","Message":"a"}'
    expected = [["a", "x"], ['{"Id":"5-1","Values":{"a":"b"}}', "y"], [message, "x"]]
    assert sorted(map(json.loads, await seen(client))) == sorted(expected)
    [group] = await client.xinfo_groups("events")
    assert (group["name"], group["pending"]) == (b"Entries", 0)


@RELEASES
async def test_bindings(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """Inputs are read before the call, and outputs are done before the entry is settled."""
    decorated(new_project(tmp_path, connection=server.address), DECORATED)
    await client.hset("prices", "book", "12.5")
    await client.set("old", "value")
    await client.rpush("work", "book")
    with running_command(tmp_path, "run", ".", "--until-empty") as running:
        await eventually(lambda: running.process.poll() is not None)
        assert running.process.returncode == 0, running.errors
    assert await seen(client) == [b"book", b"12.5", b"0"]
    assert not await client.exists("old")


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize("prefix", ["", "async "])
async def test_replies_are_those_of_redis(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, prefix: str
) -> None:
    """Numbers keep their text, a missing key is None, and flags are 0 or 1."""
    commands = ["ZSCORE z m", "ZSCORE z n", "HEXISTS h f", "LLEN work", "GET none", "TYPE z", "GET raw"]
    names = [f"value{number}" for number in range(len(commands))]
    listed = ", ".join(names)
    source = f"{prefix}def main(entry, {listed}):\n    return 'seen ' + repr(({listed})).replace(' ', '')"
    bindings = [command("in", text, name) for name, text in zip(names, commands, strict=True)]
    bindings[-1]["dataType"] = "binary"
    add_function(new_project(tmp_path, connection=server.address), "Work", source, LIST, *bindings,
                 command("out", "RPUSH", "$return"))  # fmt: skip
    await client.zadd("z", {"m": 0.1, "n": 3})
    await client.hset("h", "f", "v")
    await client.set("raw", b"\xff")
    await client.rpush("work", "a")
    with running_command(tmp_path, "run", ".", "--until-empty") as running:
        await eventually(lambda: running.process.poll() is not None)
    assert await seen(client) == [b"('0.1','3','1','0',None,'zset',b'\\xff')"], running.errors


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize(
    ("binding", "text"),
    [
        (command("in", "GET {Value}"), "WRONGTYPE"),
        (command("out", "INCR"), "WRONGTYPE"),
        (command("out", "NOTHING"), "unknown command"),
    ],
    ids=["input", "output", "no command"],
)
async def test_a_command_that_fails(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, binding: dict[str, str], text: str
) -> None:
    """The call counts as failed, and the entry is kept."""
    source = "def main(entry, value):\n    getattr(value, 'set', print)('work:of:others')"
    project = new_project(tmp_path, connection=server.address)
    add_function(project, "Work", source, LIST, binding, retry={"strategy": "fixedDelay", "maxRetryCount": 0})
    await client.rpush("work:of:others", "x")
    await client.rpush("work", "work:of:others")
    with running_command(tmp_path, "run", ".", "--until-empty") as running:
        await eventually(lambda: running.process.poll() is not None)
    assert text in running.errors
    assert "It is the binding value." in running.errors
    with running_command(tmp_path, "dead", "list", ".", "Work", "--json") as listing:
        await eventually(lambda: listing.process.poll() is not None)
    assert len(json.loads(listing.output)["letters"]) == 1


@pytest.mark.releases("valkey-9.1", "redis-6.2")
async def test_a_killed_project_loses_nothing(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """Elements and entries that were in progress when the process was killed are handled by the next one."""
    project = new_project(tmp_path, connection=server.address)
    for name, binding in (("Elements", LIST), ("Entries", STREAM)):
        add_function(project, name, HANGING, binding)
    for number in range(20):
        await client.rpush("work", str(number))
        await client.xadd("events", {"n": str(number)})
    settings = {"HOST__LEASE_SECONDS": "1"}
    with running_command(tmp_path, "run", ".", **settings) as running:
        await eventually(lambda: begun(client, 16 + 16))
        running.process.send_signal(signal.SIGKILL)
        await eventually(lambda: running.process.poll() is not None)
    for name in ("Elements", "Entries"):
        (project / name / "__init__.py").write_text(WITHOUT_VALUE)
    with running_command(tmp_path, "run", ".", "--until-empty", **settings) as running:
        await eventually(lambda: running.process.poll() is not None, seconds=60)
        assert running.process.returncode == 0, running.errors
    found = [json.loads(one)[0] for one in await seen(client)]
    elements = {one for one in found if not one.startswith("{")}
    entries = {json.loads(one)["Values"]["n"] for one in found if one.startswith("{")}
    assert elements == entries == {str(number) for number in range(20)}


@pytest.mark.releases("valkey-9.1")
async def test_up(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """`up` runs a project in as many processes as needed, which find its connections."""
    project = new_project(tmp_path / "shop", connection=server.address, values={"FUNCTION": "Elements"})
    add_function(project, "Elements", WITHOUT_VALUE, LIST)
    ports = ("--grpc-port", "0", "--http-port", "0")
    with running_command(tmp_path, "up", "shop", *ports) as running:
        await client.rpush("work", "a")
        await eventually(lambda: recorded(client, 1))
        assert await running.terminate() == 0


@pytest.mark.releases("valkey-9.1")
async def test_the_other_commands(server: Server, tmp_path: Path) -> None:
    """check, explain and manifest take the folder too."""
    add_function(new_project(tmp_path / "shop", connection=server.address), "Elements", "def main(entry): ...", LIST)
    for arguments, text in (
        (("check",), "ok   Elements: list work on"),
        (("explain",), "Elements"),
        (("manifest",), 'messagesPerWorker: "16"'),
    ):
        with running_command(tmp_path, *arguments, "shop") as running:
            await eventually(lambda: running.process.poll() is not None)
        assert running.process.returncode == 0, running.errors
        assert text in running.output


@pytest.mark.releases("valkey-9.1")
async def test_secrets_are_never_shown(server: Server, tmp_path: Path) -> None:
    """Neither values of local.settings.json nor connection strings are in any output."""
    project = new_project(tmp_path, connection=f"{server.address},password=SECRET1", values={"KEY": "SECRET2"})
    add_function(project, "Work", "def main(entry): ...", LIST)
    add_function(project, "Wrong", "1 / 0", {**LIST, "key": "%NOWHERE%"})
    for arguments in (("check", "."), ("explain", "."), ("run", ".", "--log-level", "debug")):
        with running_command(tmp_path, *arguments) as running:
            await eventually(lambda: running.process.poll() is not None)
        assert running.process.returncode == 2
        assert "ZeroDivisionError" in running.errors
        assert "SECRET" not in running.output + running.errors


@pytest.mark.releases("valkey-9.1")
async def test_calls_run_in_the_folder(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """Code reads files of the project by relative names, when it is imported and when it is called."""
    project = new_project(tmp_path / "shop", connection=server.address)
    (project / "words.txt").write_text("hello")
    source = "word = open('words.txt').read()\ndef main(entry):\n    return 'seen ' + word + open('words.txt').read()"
    add_function(project, "Work", source, LIST, command("out", "RPUSH", "$return"))
    await client.rpush("work", "a")
    with running_command(tmp_path, "run", "shop", "--until-empty") as running:
        await eventually(lambda: running.process.poll() is not None)
    assert await seen(client) == [b"hellohello"], running.errors


async def test_files_of_settings_are_relative_to_the_command(own_server: Server, tmp_path: Path) -> None:
    """Although calls run in the project's folder."""
    add_function(new_project(tmp_path / "shop"), "Work", "def main(entry): ...", LIST)
    (tmp_path / "secret").write_text("passw0rd")
    with own_server.client() as client:
        client.rpush("work", "a")
        client.config_set("requirepass", "passw0rd")
        settings = {"CONNECTIONS__CACHE": own_server.address, "CONNECTIONS__CACHE__PASSWORD_FILE": "secret"}
        with running_command(tmp_path, "run", "shop", **settings) as running:
            await eventually(lambda: not client.exists("work") or "password_file" in running.errors)
            assert "password_file" not in running.errors
            assert await running.terminate() == 0


@pytest.mark.releases("valkey-9.1")
async def test_messages_one_after_the_other(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """A pub/sub function is called for one message after the other, in their order."""
    source = WITHOUT_VALUE.replace(
        "    client", "    import time\n    time.sleep(0.001 * (10 - int(entry)))\n    client"
    )
    project = new_project(tmp_path, connection=server.address, values={"TRIGGERFISH_REDIS_EXTENSION": "preview"})
    add_function(project, "Messages", source, PUBSUB)
    with running_command(tmp_path, "run", ".") as running:
        await running.logged("runs as")
        await eventually(lambda: subscribed(client, "news"))
        for number in range(10):
            await client.publish("news", str(number))
        await eventually(lambda: recorded(client, 10))
    assert [json.loads(one)[0] for one in await seen(client)] == [str(number) for number in range(10)]


async def subscribed(client: redis.asyncio.Redis, channel: str) -> bool:
    """Return whether the channel has a subscriber."""
    return bool(dict(await client.pubsub_numsub(channel))[channel.encode()])


async def recorded(client: redis.asyncio.Redis, calls: int) -> bool:
    """Return whether this many calls have been recorded."""
    return len(await seen(client)) >= calls


async def begun(client: redis.asyncio.Redis, calls: int) -> bool:
    """Return whether this many calls have begun."""
    return int(await client.llen("begun")) >= calls
