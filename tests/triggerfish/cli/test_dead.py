"""`triggerfish dead`: list, show, requeue and purge dead letters."""

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
    """The file of the app whose dead letters are listed."""
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


async def dead_letter_entries(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """Dead-letter two list elements and a stream entry, with functions named as in the app file."""
    app = App()

    async def on_list(order: dict[str, int]) -> None: ...

    async def on_stream(payment: dict[str, int]) -> None: ...

    app.list_trigger(keys="q")(on_list)
    app.stream_trigger(keys="s", polling_interval_ms=20)(on_stream)
    await client.rpush("q", b"first \xff", "second")
    await client.xadd("s", {"a": b"\xfe", "b": "2"})
    async with run_host(app):
        for key, number in (("q", 2), ("s", 1)):
            await eventually(partial(_has_dead_letters, client, key, number))


async def _has_dead_letters(client: redis.asyncio.Redis, key: str, number: int) -> bool:
    return bool(await client.xlen(dead_letters_key(key)) == number)


@pytest.mark.releases(*SOME)
async def test_dead_letters_are_listed_with_their_error(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`list` prints a line for each dead letter of the function, with the key, the deliveries and the error."""
    await dead_letter_entries(client, run_host)
    listed = dead(server, app_file, "list", "on_list")
    assert listed.returncode == 0, listed.stderr
    lines = [line for line in listed.stdout.splitlines() if " q " in line]
    assert len(lines) == 2
    assert all("Reject: not a valid dict" in line for line in lines)


@pytest.mark.releases(*SOME)
async def test_one_dead_letter_is_shown_in_full(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`show` prints the entry; bytes that are not UTF-8 are escaped."""
    await dead_letter_entries(client, run_host)
    [(letter_id, _), _] = await client.execute_command("XRANGE", dead_letters_key("q"), "-", "+")
    shown = dead(server, app_file, "show", "on_list", letter_id.decode())
    assert shown.returncode == 0, shown.stderr
    assert "first \\xff" in shown.stdout
    assert "raised at:  -" in shown.stdout


@pytest.mark.releases(*SOME)
async def test_the_line_that_failed_is_shown(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`show` prints the line of user code that raised the error, and how often the entry was delivered."""
    app = App()

    async def on_list(order: dict[str, int]) -> None:
        raise Reject("not ours")

    app.list_trigger(keys="q")(on_list)
    await client.rpush("q", "{}")
    async with run_host(app):
        await eventually(partial(_has_dead_letters, client, "q", 1))
    [(letter_id, _)] = await client.execute_command("XRANGE", dead_letters_key("q"), "-", "+")
    shown = dead(server, app_file, "show", "on_list", letter_id.decode()).stdout
    assert re.search(r"^raised at:  .*test_dead\.py:\d+ in .*on_list$", shown, re.MULTILINE), shown
    assert "deliveries: 1\nerror:      Reject: not ours\n" in shown


@pytest.mark.releases(*SOME)
async def test_requeued_entries_are_unchanged(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`requeue --all` puts list elements and stream entries back unchanged, and removes the dead letters."""
    await dead_letter_entries(client, run_host)
    assert "2 requeued" in dead(server, app_file, "requeue", "on_list", "--all").stdout
    assert "1 requeued" in dead(server, app_file, "requeue", "on_stream", "--all").stdout
    assert await client.lrange("q", 0, -1) == [b"first \xff", b"second"]
    (_, fields) = (await client.execute_command("XRANGE", "s", "-", "+"))[-1]
    assert fields == {b"a": b"\xfe", b"b": b"2"}
    assert await client.xlen(dead_letters_key("q")) == await client.xlen(dead_letters_key("s")) == 0


@pytest.mark.releases("valkey-9.1")
async def test_purge_removes_only_the_named_dead_letter(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, app_file: Path
) -> None:
    """`purge ID` removes only that dead letter; without an ID or --all, nothing is removed."""
    await dead_letter_entries(client, run_host)
    assert dead(server, app_file, "purge", "on_list").returncode == 2
    [(letter_id, _), (other_id, _)] = await client.execute_command("XRANGE", dead_letters_key("q"), "-", "+")
    assert "1 purged" in dead(server, app_file, "purge", "on_list", letter_id.decode()).stdout
    assert [kept for kept, _ in await client.execute_command("XRANGE", dead_letters_key("q"), "-", "+")] == [other_id]


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "nobody"), "nobody"),
        (("list", "on_message"), "Pub/sub"),
        (("requeue", "on_list", "1-1"), "1-1"),
        (("requeue", "on_list", "1-1", "--all"), "not both"),
    ],
)
def test_usage_errors_are_one_line(server: Server, app_file: Path, arguments: tuple[str, ...], message: str) -> None:
    """A wrong argument prints one line that names it, with exit status 2."""
    ran = dead(server, app_file, arguments[0], *arguments[1:])
    assert ran.returncode == 2
    assert message in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
