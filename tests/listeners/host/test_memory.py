"""The memory of a host stays below the limit of the chart's pods, whatever producers send and functions raise."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio
import yaml

from listeners.keys import dead_letters_key, inflight_key
from tests.servers.catalogue import RELEASES
from tests.support.programs.commands import Command, running_command
from tests.support.programs.hosts import ROOT, restarted_host
from tests.support.trigger_kinds import GROUP, reached
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

MEGABYTE, MEBIBYTE = 1_000_000, 1024 * 1024
LARGE = b"x" * (100 * MEGABYTE)
#: A busy machine needs long to copy gigabytes.
SECONDS = 300.0


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A separate server, which does not close a subscriber's connection for its backlog."""
    server = RELEASES["valkey-9.1"].start("--client-output-buffer-limit", "pubsub 0 0 0")
    yield server
    server.stop()


@pytest.fixture
async def plain(own_server: Server) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of that server."""
    async with redis.asyncio.Redis(port=own_server.port, protocol=2, socket_timeout=SECONDS) as client:
        yield client


@contextlib.contextmanager
def bounded_host(folder: Path, server: Server, app: str, *, copies: int) -> Iterator[Command]:
    """Run an app of tests.apps.hostile. Fails if the process has ended, or needed more memory than a pod may have.

    `copies`: how often 100 MB may be in memory, beside the 100 MiB that a host may need anyway.
    """
    with running_command(folder, "run", f"tests.apps.hostile:{app}", CONNECTION=server.address) as command:
        yield command
        assert command.process.poll() is None, command.errors
        peak = peak_kib(command.process.pid) * 1024
    values = yaml.safe_load((ROOT / "charts" / "triggerfish" / "values.yaml").read_text())
    limit = values["appDefaults"]["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    assert peak < int(limit.removesuffix("Mi")) * MEBIBYTE
    assert peak < 100 * MEBIBYTE + copies * len(LARGE)


def peak_kib(pid: int) -> int:
    """Return the most memory that a process has had so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.fixture(autouse=True)
def _environment(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDER_PORT", str(own_server.port))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


async def sizes(client: redis.asyncio.Redis) -> list[int]:
    """Return what the functions have recorded."""
    return [int(size) for size in await client.execute_command("LRANGE", "handled", 0, -1)]


async def letters(client: redis.asyncio.Redis, key: str) -> int:
    """Return how many dead letters a key has."""
    return int(await client.xlen(dead_letters_key(key)))


async def test_elements_of_100_megabytes(own_server: Server, plain: redis.asyncio.Redis, tmp_path: Path) -> None:
    """Ten large elements are handled one after another."""
    for _ in range(10):
        await plain.rpush("list", LARGE)
    with bounded_host(tmp_path, own_server, "one", copies=2):
        await eventually(lambda: reached(plain, "handled", 10), seconds=SECONDS)
    assert await sizes(plain) == [len(LARGE)] * 10


async def test_large_stream_entries(own_server: Server, plain: redis.asyncio.Redis, tmp_path: Path) -> None:
    """An entry with a large value, and several with very many fields."""
    await plain.xadd("stream", {"f": LARGE})
    many = [part for number in range(100_000) for part in (b"field %d" % number, b"value")]
    for _ in range(5):
        await plain.execute_command("XADD", "stream", "*", *many)
    with bounded_host(tmp_path, own_server, "one", copies=4):
        await eventually(lambda: reached(plain, "handled", 6), seconds=SECONDS)
    assert sorted(await sizes(plain)) == [1] + [100_000] * 5


async def test_dead_letters_of_large_stream_entries(
    own_server: Server, plain: redis.asyncio.Redis, tmp_path: Path
) -> None:
    """Entries of 100 MB and of 20,000 fields become dead letters, and are acknowledged."""
    await plain.xadd("stream", {"f": LARGE})
    many = [part for number in range(20_000) for part in (b"field %d" % number, b"value")]
    await plain.execute_command("XADD", "stream", "*", *many)

    async def settled() -> bool:
        return await letters(plain, "stream") == 2 and (await plain.xpending("stream", GROUP))["pending"] == 0

    with bounded_host(tmp_path, own_server, "fails", copies=3):
        await eventually(settled, seconds=SECONDS)


@pytest.mark.parametrize(
    ("key", "payload"),
    [("repeats", LARGE), ("text", b""), ("deep", b"")],
    ids=["with the message", "of 100 MB", "with deep tracebacks"],
)
async def test_large_exceptions(
    own_server: Server, plain: redis.asyncio.Redis, tmp_path: Path, key: str, payload: bytes
) -> None:
    """An exception with a text of 100 MB, and a chain of exceptions with deep tracebacks and texts of 1 MB."""
    await plain.rpush(key, payload)
    with bounded_host(tmp_path, own_server, "fails", copies=3 if payload else 1) as command:
        await eventually(lambda: letters(plain, key), seconds=SECONDS)
        await command.logged("dead-lettered")
        assert len(command.errors) < 50_000


@pytest.mark.parametrize("items", [500_000, 1_000_000], ids=["below the limit", "above the limit"])
async def test_an_entry_with_very_many_validation_errors(
    own_server: Server, plain: redis.asyncio.Redis, tmp_path: Path, items: int
) -> None:
    """An entry of up to host.max_model_bytes has hundreds of thousands of errors; a larger one is not validated."""
    await plain.rpush("orders", f'{{"items":[{",".join(["{}"] * items)}]}}')
    with bounded_host(tmp_path, own_server, "fails", copies=4):
        await eventually(lambda: letters(plain, "orders"), seconds=SECONDS)
    (_, fields), *_ = await plain.execute_command("XRANGE", dead_letters_key("orders"), "-", "+")
    reason = b"(errors: 500000)" if items == 500_000 else b"host.max_model_bytes"
    assert reason in fields[b"error"]


async def test_a_flood_of_messages(own_server: Server, plain: redis.asyncio.Redis, tmp_path: Path) -> None:
    """2,000 messages of 1 MB while the function is busy: those beyond the bound of the queue are dropped."""
    await plain.set("hold", "1")

    async def subscribed() -> bool:
        return bool((await plain.pubsub_numsub("channel"))[0][1])

    async def read_to_the_end() -> bool:
        await plain.publish("channel", "end")
        return len(b"end") in await sizes(plain)

    with bounded_host(tmp_path, own_server, "channel", copies=1):
        await eventually(subscribed, seconds=SECONDS)
        for _ in range(2_000):
            await plain.publish("channel", LARGE[:MEGABYTE])
        await plain.delete("hold")
        await eventually(read_to_the_end, seconds=SECONDS)
        assert MEGABYTE in await sizes(plain)


async def test_a_message_of_100_megabytes(own_server: Server, plain: redis.asyncio.Redis, tmp_path: Path) -> None:
    """A message that is larger than the queue's bound is handled."""

    async def subscribed() -> bool:
        return bool((await plain.pubsub_numsub("channel"))[0][1])

    with bounded_host(tmp_path, own_server, "channel", copies=3):
        await eventually(subscribed, seconds=SECONDS)
        await plain.publish("channel", LARGE)
        await eventually(lambda: reached(plain, "handled", 1), seconds=SECONDS)
    assert await sizes(plain) == [len(LARGE)]


async def test_a_batch_of_large_elements(own_server: Server, plain: redis.asyncio.Redis, tmp_path: Path) -> None:
    """A batch has no more elements than the bound in bytes allows."""
    for _ in range(12):
        await plain.rpush("batch", LARGE[: 6 * MEGABYTE])
    with bounded_host(tmp_path, own_server, "batches", copies=1):
        await eventually(lambda: reached(plain, "handled", 12), seconds=SECONDS)


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_many_large_entries_for_several_functions(
    own_server: Server, plain: redis.asyncio.Redis, tmp_path: Path, kind: str
) -> None:
    """The functions of an app share the bound in bytes, also for the first entries, of which no size is known."""
    keys = [f"work:{number}" for number in range(5)]
    await plain.set("hold", "1")
    for key in keys * 100:
        if kind == "list":
            await plain.rpush(key, LARGE[:MEGABYTE])
        else:
            await plain.xadd(key, {"f": LARGE[:MEGABYTE]})

    async def in_progress(key: str) -> int:
        if kind == "list":
            return int(await plain.zcard(inflight_key(key)))
        groups = await plain.xinfo_groups(key)
        return int(groups[0]["pending"]) if groups else 0

    async def all_in_progress() -> bool:
        return all([await in_progress(key) for key in keys])

    with bounded_host(tmp_path, own_server, f"several_{kind}s", copies=1):
        await eventually(all_in_progress, seconds=SECONDS)
        await plain.delete("hold")
        await eventually(lambda: reached(plain, "handled", 500), seconds=SECONDS)


async def test_an_entry_that_needs_more_memory_than_there_is(
    own_server: Server,
    plain: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An entry whose conversion kills its process is called alone, then dead-lettered; the others are handled.

    Meanwhile the watchdog reports that pydantic validates it.
    """
    monkeypatch.setenv("ADDRESS_SPACE_BYTES", str(1024 * MEBIBYTE))
    await plain.rpush("nodes", '{"left":' * 60 + "7" + "}" * 60, "{}", "{}")

    async def finished() -> bool:
        return await letters(plain, "nodes") == 1 and await plain.zcard(inflight_key("nodes")) == 0

    async with restarted_host(own_server, app="tests.apps.hostile:limited", lease_seconds=1) as processes:
        await eventually(finished, seconds=SECONDS)
        assert await sizes(plain) == [1, 1]
        assert len(processes) <= 4
    ((_, fields),) = await plain.execute_command("XRANGE", dead_letters_key("nodes"), "-", "+")
    assert fields[b"payload"].startswith(b'{"left":')
    assert b"alone in its process" in fields[b"error"]
    errors = capfd.readouterr().err
    assert "'nodes' came back without an outcome; it is called alone" in errors
    assert "Timeout (" in errors
    assert "listeners/functions" in errors
    assert "in convert" in errors
