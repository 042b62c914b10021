"""`triggerfish run --until-empty`: it ends once nothing is left, and never because something is unknown."""

import signal
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis.asyncio

from listeners.keys import inflight_key
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.support.programs.commands import Command, running_command
from tests.support.trigger_kinds import GROUP, KEY, Kind, add, both_kinds, dead_letters, unfinished
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

APP = """
import os, redis
from triggerfish import App, RedisMessage, Reject, Retry
app = App("job")
notes = redis.Redis(port=int(os.environ["NOTES_PORT"]), protocol=2)

def note(message):
    payload = next(iter(message.fields.values())) if message.fields else message.message
    notes.rpush("started", payload)
    if payload == "retried" and message.deliveries < 3:
        raise Retry(after_seconds=0.5)
    if payload == "rejected":
        raise Reject("no")
    if payload == "held":
        notes.blpop("release", 60)
    notes.rpush("handled", payload)
"""
TRIGGERS = {
    "list": '@app.list_trigger(keys="work")',
    "stream": '@app.stream_trigger(keys="work", polling_interval_ms=20)',
    "several lists": '@app.list_trigger(keys=["work", "a", "b", "c"])',
    "several streams": '@app.stream_trigger(keys=["work", "a", "b", "c"], polling_interval_ms=20)',
    "at most once": '@app.list_trigger(keys="work", delivery="at-most-once")',
    "pubsub": '@app.pubsub_trigger(channel="work")',
}
#: A producer that adds entries from the moment when the host begins to drain until the process ends.
LATE_PRODUCER = """
import logging, threading

def produce():
    number = 0
    while True:
        number += 1
        KIND_ADD
        notes.set("pushed", number)

class Late(logging.Handler):
    def emit(self, record):
        if "nothing is left" in record.getMessage():
            threading.Thread(target=produce, daemon=True).start()
            while notes.get("pushed") is None:
                pass

logging.getLogger("triggerfish.host").addHandler(Late())
"""
one_release = pytest.mark.releases("valkey-9.1")


def write_app(folder: Path, *triggers: str, more: str = "") -> None:
    """Write an app with a function for each of these triggers."""
    functions = [
        f"{TRIGGERS[kind]}\ndef on_{at}(message: RedisMessage):\n    note(message)\n"
        for at, kind in enumerate(triggers)
    ]
    (folder / "job.py").write_text("\n".join([APP, *functions, more]))


def until_empty(folder: Path, server: Server, **variables: str) -> AbstractContextManager[Command]:
    """Run the app in the folder until it is empty."""
    connection = variables.pop("CONNECTION", server.address)
    return running_command(folder, "run", "job.py", "--until-empty", CONNECTION=connection, **variables)


@pytest.fixture(autouse=True)
def _notes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the app make its notes on the test's server."""
    name = "server" if "server" in request.fixturenames else "own_server"
    monkeypatch.setenv("NOTES_PORT", str(request.getfixturevalue(name).port))


async def ended(command: Command) -> int:
    """Return the exit status, once it has ended by itself."""
    await eventually(lambda: command.process.poll() is not None, seconds=60)
    return command.process.returncode


@both_kinds
@pytest.mark.releases("redis-5.0", "redis-7.2", "valkey-9.1")
async def test_it_ends_with_the_backlog(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, kind: Kind
) -> None:
    """It handles everything, retries included, and exits with status 0. A dead letter is not left."""
    write_app(tmp_path, kind)
    payloads = [*map(str, range(30)), "retried", "rejected"]
    await add(client, kind, *payloads)
    with until_empty(tmp_path, server) as command:
        assert await ended(command) == 0, command.errors
    handled = sorted(await client.lrange("handled", 0, -1))
    assert handled == sorted(payload.encode() for payload in payloads if payload != "rejected")
    started = await client.lrange("started", 0, -1)
    assert started.count(b"retried") == 3
    assert await unfinished(client, kind) == 0
    assert len(await dead_letters(client)) == 1
    assert "nothing is left: draining" in command.errors


@one_release
@pytest.mark.parametrize("trigger", ["list", "stream", "several lists", "several streams", "at most once"])
async def test_it_ends_if_there_is_nothing(server: Server, tmp_path: Path, trigger: str) -> None:
    """Without any key, and without a group, it exits with status 0."""
    write_app(tmp_path, trigger)
    with until_empty(tmp_path, server) as command:
        assert await ended(command) == 0, command.errors


@both_kinds
@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_it_waits_for_a_batch(server: Server, client: redis.asyncio.Redis, tmp_path: Path, kind: Kind) -> None:
    """Entries that wait for a fuller batch are not left: it ends after their window and their call."""
    more = f"""
@app.{kind}_trigger(keys="work", batch_size=20, batch_window_ms=1500)
def store(messages: list[RedisMessage]):
    notes.rpush("handled", len(messages))
"""
    write_app(tmp_path, more=more)
    await add(client, kind, *map(str, range(25)))
    with until_empty(tmp_path, server) as command:
        assert await ended(command) == 0, command.errors
    assert await client.lrange("handled", 0, -1) == [b"20", b"5"]
    assert await unfinished(client, kind) == 0


@one_release
async def test_several_functions(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """It waits for the last one, also if functions feed one another through elements popped before the call."""
    more = """
@app.list_trigger(keys="first", delivery="at-most-once")
def first(number: int):
    notes.rpush("second", number + 1)

@app.stream_trigger(keys="third", polling_interval_ms=20)
def third(fields: dict):
    notes.rpush("handled", fields["number"])

@app.list_trigger(keys="second")
def second(number: int):
    if number < 20:
        notes.rpush("first", number + 1)
    else:
        notes.xadd("third", {"number": number})
"""
    write_app(tmp_path, more=more)
    await client.rpush("first", "1")
    with until_empty(tmp_path, server) as command:
        assert await ended(command) == 0, command.errors
    assert await client.lrange("handled", 0, -1) == [b"20"]


@both_kinds
@one_release
async def test_entries_that_arrive_while_it_drains(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, kind: Kind
) -> None:
    """Each is either handled, or left in Redis for the next instance."""
    adding = 'notes.rpush("work", number)' if kind == "list" else 'notes.xadd("work", {"payload": number})'
    write_app(tmp_path, kind, more=LATE_PRODUCER.replace("KIND_ADD", adding))
    with until_empty(tmp_path, server) as command:
        assert await ended(command) == 0, command.errors
    handled = {int(payload) for payload in await client.lrange("handled", 0, -1)}
    pushed = int(await client.get("pushed") or 0)
    assert pushed > 0
    if kind == "list":
        assert await client.zcard(inflight_key(KEY)) == 0
        left = {int(payload) for payload in await client.lrange(KEY, 0, -1)}
    else:
        assert await unfinished(client, kind) == 0
        [group] = await client.execute_command("XINFO GROUPS", KEY)
        undelivered = await client.execute_command("XRANGE", KEY, b"(" + group["last-delivered-id"], "+")
        left = {int(fields[b"payload"]) for _, fields in undelivered}
    assert handled & left == set()
    assert handled | left >= set(range(1, pushed + 1))


@one_release
async def test_entries_of_a_dead_consumer(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """What is pending for a consumer that has died is left, until this process may take it and has handled it."""
    write_app(tmp_path, "stream")
    await add(client, "stream", "orphan")
    await client.xgroup_create(KEY, GROUP, "0")
    await client.xreadgroup(GROUP, "dead", {KEY: ">"})
    with until_empty(tmp_path, server, HOST__LEASE_SECONDS="1") as command:
        assert await ended(command) == 0, command.errors
    assert await client.lrange("handled", 0, -1) == [b"orphan"]


@both_kinds
@one_release
async def test_a_signal_before_it_is_empty(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, kind: Kind
) -> None:
    """It finishes the call, and exits with status 1, as the rest is left."""
    write_app(tmp_path, kind)
    await add(client, kind, *["held"] * 20)
    with until_empty(tmp_path, server) as command:
        await eventually(lambda: client.llen("started"))
        command.process.send_signal(signal.SIGTERM)
        await command.logged("SIGTERM: draining")
        await client.rpush("release", *["go"] * 20)
        assert await ended(command) == 1, command.errors
    assert await client.llen("handled") == await client.llen("started") < 20


@one_release
async def test_redis_that_stops_answering(server: Server, own_server: Server, tmp_path: Path) -> None:
    """While Redis does not answer, it goes on, although it knew of nothing to do. Later it ends with status 0."""
    write_app(tmp_path, "stream")
    with own_server.client() as client:
        client.xgroup_create(KEY, GROUP, "$", mkstream=True)
        entry_id = client.xadd(KEY, {"payload": "x"})
        client.xreadgroup(GROUP, "other", {KEY: ">"})  # in progress elsewhere
        with until_empty(tmp_path, own_server) as command:
            await command.logged("on_0: Valkey")
            own_server.process.send_signal(signal.SIGSTOP)
            await command.logged("cannot find out whether it is empty")
            own_server.process.send_signal(signal.SIGCONT)
            assert command.process.poll() is None
            client.xack(KEY, GROUP, entry_id)
            assert await ended(command) == 0, command.errors
    assert "nothing is left" in command.errors


@one_release
@pytest.mark.parametrize(
    ("trigger", "line"),
    [("list", "on_0: cannot find out whether it is empty"), ("stream", "on_0: opening")],
)
async def test_what_cannot_be_measured(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, trigger: str, line: str
) -> None:
    """A key of another type is not empty: it goes on, and a signal ends it with status 1."""
    write_app(tmp_path, trigger)
    await client.set(KEY, "text")
    with until_empty(tmp_path, server) as command:
        await command.logged(line)
        assert await command.terminate() == 1
    assert "nothing is left" not in command.errors


async def test_redis_that_is_not_there(own_server: Server, tmp_path: Path) -> None:
    """It goes on trying, and a signal ends it with status 1."""
    write_app(tmp_path, "list")
    own_server.process.kill()
    own_server.process.wait()
    with until_empty(tmp_path, own_server) as command:
        await command.logged("on_0: opening")
        assert await command.terminate() == 1


@one_release
async def test_a_signal_while_it_starts(server: Server, tmp_path: Path) -> None:
    """Before the app is loaded, nothing is known: the status is 1."""
    write_app(tmp_path, "list", more="print('importing', flush=True)\nimport time\ntime.sleep(60)")
    with until_empty(tmp_path, server) as command:
        await eventually(lambda: command.output)
        assert await command.terminate() == 1


@one_release
async def test_pubsub_is_refused(server: Server, tmp_path: Path) -> None:
    """A pub/sub function has no end: it is an error that names the function and the fix."""
    write_app(tmp_path, "list", "pubsub")
    with until_empty(tmp_path, server) as command:
        assert await ended(command) == 2
    assert command.errors.splitlines()[-1] == (
        "triggerfish: invalid --until-empty 'on_1': Pub/sub has no end. Move the function into another app, or run "
        "this one without --until-empty."
    )


async def test_in_a_cluster(tmp_path: Path, own_server: Server) -> None:
    """It ends once the keys of all nodes are empty."""
    stream = TRIGGERS["stream"].replace("work", "s")
    write_app(tmp_path, "several lists", more=f"{stream}\ndef last(message: RedisMessage):\n    note(message)\n")
    with Cluster(RELEASES["valkey-9.1"]) as cluster:
        with cluster.client() as client:
            for key in ("work", "a", "b", "c"):
                client.rpush(key, *[f"{key}{number}" for number in range(5)], "retried")
                client.xadd("s", {"payload": key})
        with until_empty(tmp_path, own_server, CONNECTION=cluster.address) as command:
            assert await ended(command) == 0, command.errors
    with own_server.client() as notes:
        handled = notes.lrange("handled", 0, -1)
    expected = [f"{key}{number}" for key in ("work", "a", "b", "c") for number in range(5)]
    assert sorted(handled) == sorted([*expected, *["retried"] * 4, "work", "a", "b", "c"])


@one_release
async def test_a_lifespan_that_fails(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """While something waits, the process ends with the status of a failed lifespan, and takes nothing."""
    write_app(
        tmp_path, "list", more='@app.lifespan\nasync def lifespan():\n    raise ValueError("no pool")\n    yield\n'
    )
    await client.rpush(KEY, "a")
    with until_empty(tmp_path, server) as command:
        assert await ended(command) == 3, command.errors
    assert "ValueError: no pool" in command.errors
    assert await client.lrange(KEY, 0, -1) == [b"a"]


@one_release
@pytest.mark.parametrize("blocks", ["before", "after"])
async def test_a_signal_and_a_lifespan_that_blocks(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, blocks: str
) -> None:
    """The process ends although the lifespan blocks the event loop, with status 1, as the rest is left."""
    block = "    while True:\n        time.sleep(0.01)\n"
    lines = ['    notes.set("entered", 1)\n', *([block] if blocks == "before" else []), "    yield\n"]
    lines += [block] if blocks == "after" else []
    write_app(tmp_path, "list", more=f"import time\n@app.lifespan\nasync def lifespan():\n{''.join(lines)}")
    await add(client, "list", *["held"] * 20)
    with until_empty(tmp_path, server, HOST__GRACE_PERIOD_SECONDS="0.5") as command:
        await eventually(lambda: client.get("entered"))
        assert await command.terminate() == 1
