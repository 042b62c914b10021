"""`triggerfish dead`: list, show, requeue and purge what was given up on."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import redis.asyncio

from listeners.keys import dead_letters_key
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, Reject
from triggerfish.testing.server import Server

SOME = ("redis-5.0", "redis-7.0", "valkey-9.1")

APP = """
from triggerfish import App

app = App("graves")

@app.list_trigger(keys="q")
async def on_list(body: bytes) -> None: ...

@app.stream_trigger(keys="s")
async def on_stream(body: bytes) -> None: ...

@app.pubsub_trigger(channel="c")
async def on_message(body: bytes) -> None: ...
"""


@pytest.fixture
def app_file(tmp_path: Path) -> Path:
    """The app whose dead letters are looked at."""
    path = tmp_path / "graves.py"
    path.write_text(APP)
    return path


def dead(server: Server, app_file: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `triggerfish dead COMMAND APP ...`."""
    line = [
        sys.executable,
        "-m",
        "triggerfish",
        "dead",
        command,
        str(app_file),
        *arguments,
        "--connection",
        server.address,
    ]
    return subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)


async def bury(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Let two list elements and a stream entry fail for good; their functions have the app file's names."""
    app = App()

    async def on_list(order: dict[str, int]) -> None: ...

    async def on_stream(payment: dict[str, int]) -> None: ...

    app.list_trigger(keys="q")(on_list)
    app.stream_trigger(keys="s", polling_interval_ms=20)(on_stream)
    await client.rpush("q", b"first \xff", "second")
    await client.xadd("s", {"a": b"\xfe", "b": "2"})
    async with run_host(app):
        for key, number in (("q", 2), ("s", 1)):
            await eventually(partial(_has, client, key, number))


async def _has(client: redis.asyncio.Redis, key: str, number: int) -> bool:
    return bool(await client.xlen(dead_letters_key(key)) == number)


@pytest.mark.releases(*SOME)
async def test_dead_letters_are_listed_with_their_error(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`list` has a line for each dead letter of the function, with the key, the deliveries and the error."""
    await bury(client, run_host)
    listed = dead(server, app_file, "list", "on_list")
    assert listed.returncode == 0, listed.stderr
    lines = [line for line in listed.stdout.splitlines() if " q " in line]
    assert len(lines) == 2
    assert all("Reject: not a dict" in line for line in lines)


@pytest.mark.releases(*SOME)
async def test_one_dead_letter_is_shown_whole(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`show` prints the entry, with bytes that are not UTF-8 escaped."""
    await bury(client, run_host)
    [(letter_id, _), _] = await client.execute_command("XRANGE", dead_letters_key("q"), "-", "+")
    shown = dead(server, app_file, "show", "on_list", letter_id.decode())
    assert shown.returncode == 0, shown.stderr
    assert "first \\xff" in shown.stdout
    assert "raised at:  -" in shown.stdout


@pytest.mark.releases(*SOME)
async def test_the_line_that_failed_is_shown(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`show` says in which line of the user's code the error was raised, and how often the entry was delivered."""
    app = App()

    async def on_list(order: dict[str, int]) -> None:
        raise Reject("not ours")

    app.list_trigger(keys="q")(on_list)
    await client.rpush("q", "{}")
    async with run_host(app):
        await eventually(partial(_has, client, "q", 1))
    [(letter_id, _)] = await client.execute_command("XRANGE", dead_letters_key("q"), "-", "+")
    shown = dead(server, app_file, "show", "on_list", letter_id.decode()).stdout
    assert re.search(r"^raised at:  .*test_dead\.py:\d+ in .*on_list$", shown, re.MULTILINE), shown
    assert "deliveries: 1\nerror:      Reject: not ours\n" in shown


@pytest.mark.releases(*SOME)
async def test_requeued_entries_are_back_unharmed(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`requeue --all` puts list elements and stream entries back byte for byte, and removes the dead letters."""
    await bury(client, run_host)
    assert "2 requeued" in dead(server, app_file, "requeue", "on_list", "--all").stdout
    assert "1 requeued" in dead(server, app_file, "requeue", "on_stream", "--all").stdout
    assert await client.lrange("q", 0, -1) == [b"first \xff", b"second"]
    (_, fields) = (await client.execute_command("XRANGE", "s", "-", "+"))[-1]
    assert fields == {b"a": b"\xfe", b"b": b"2"}
    assert await client.xlen(dead_letters_key("q")) == await client.xlen(dead_letters_key("s")) == 0


@pytest.mark.releases("valkey-9.1")
async def test_purging_names_what_it_removes(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`purge ID` removes that dead letter and no other; without an ID or --all nothing is removed."""
    await bury(client, run_host)
    assert dead(server, app_file, "purge", "on_list").returncode == 2
    [(letter_id, _), (other_id, _)] = await client.execute_command("XRANGE", dead_letters_key("q"), "-", "+")
    assert "1 purged" in dead(server, app_file, "purge", "on_list", letter_id.decode()).stdout
    assert [kept for kept, _ in await client.execute_command("XRANGE", dead_letters_key("q"), "-", "+")] == [other_id]


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "nobody"), "nobody"),
        (("list", "on_message"), "Pub/sub"),
        (("requeue", "on_list", "1-1"), "1-1"),
        (("requeue", "on_list", "1-1", "--all"), "not both"),
    ],
)
def test_mistakes_are_one_clear_line(server: Server, app_file: Path, arguments: tuple[str, ...], said: str) -> None:
    """A function or dead letter that does not exist is one line that names it, and exit code 2."""
    ran = dead(server, app_file, arguments[0], *arguments[1:])
    assert ran.returncode == 2
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
