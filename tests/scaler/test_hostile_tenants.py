"""One scaler gets every hostile input in turn: it stays below the chart's limit of memory and answers neighbours."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc
import pytest
import yaml

from scaler.keda import externalscaler_pb2 as pb
from tests.scaler.attacked_scaler import GOOD, GOOD_STREAM, Scaler, scaler_process
from tests.support.network.outside_servers import outside_address
from tests.support.network.scripted_server import scripted_server
from tests.support.programs.hosts import ROOT
from tests.support.running_scaler import reference
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

Attack = Callable[[Scaler], AbstractAsyncContextManager[None]]


def calls(*metadata: dict[str, str], statuses: set[str]) -> Attack:
    """Make an attack of calls, each of which gets one of the statuses. Neighbours call while they are pending."""

    @contextlib.asynccontextmanager
    async def attack(scaler: Scaler) -> AsyncIterator[None]:
        pending = asyncio.create_task(scaler.attempts(*metadata))
        yield
        assert await pending <= statuses

    return attack


def flood(reply: bytes, info: bytes = b"redis_version:7.2.4\r\n") -> Attack:
    """Make an attack by servers that ScaledObjects name, and that send the same reply to everything but INFO."""

    def replies(command: Sequence[bytes]) -> bytes:
        return b"$%d\r\n%b\r\n" % (len(info), info) if command[0] == b"INFO" else reply

    @contextlib.asynccontextmanager
    async def attack(scaler: Scaler) -> AsyncIterator[None]:
        address = outside_address()
        async with scripted_server(replies, address, greeting=False) as server:
            places = (f"{address}:{server.port},defaultDatabase={database}" for database in range(20))
            strings = [{**GOOD, "connectionStringFromEnv": place} for place in places]
            async with calls(*strings, statuses={"UNAVAILABLE"})(scaler):
                yield

    return attack


@contextlib.asynccontextmanager
async def many_options(scaler: Scaler) -> AsyncIterator[None]:
    """60 triggers with 80,000 unknown options each, whose requests have nearly the size that gRPC accepts."""
    trigger = reference({**GOOD, **{f"{option:x}": "" for option in range(80_000)}}, namespace="evil")
    request = pb.GetMetricsRequest(scaledObjectRef=trigger, metricName="triggerfish-x").SerializeToString()
    method = "/externalscaler.ExternalScaler/GetMetrics"
    raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = scaler.keda.channel.unary_unary(method)
    attempts = [raw(request) for _ in range(60)]
    yield
    assert {await attempt.code() for attempt in attempts} == {grpc.StatusCode.INVALID_ARGUMENT}


@contextlib.asynccontextmanager
async def half_open_requests(scaler: Scaler) -> AsyncIterator[None]:
    """500 HTTP requests whose heads never end."""
    opened = [await asyncio.open_connection("127.0.0.1", scaler.http_port) for _ in range(500)]
    for _, writer in opened:
        writer.write(b"GET / HTTP/1.1\r\n")
    yield
    for _, writer in opened:
        writer.close()


@contextlib.asynccontextmanager
async def odd_file(scaler: Scaler) -> AsyncIterator[None]:
    """A connection's file with a date that does not exist, beside a new good one."""
    (scaler.folder / "odd").write_text("connection_string: h\nnamespaces: [2021-99-99]")
    (scaler.folder / "late").write_text((scaler.folder / "good").read_text())

    async def late_one_works() -> bool:
        return await scaler.attempt({**GOOD, "connection": "late"}, "late") == "OK"

    await eventually(late_one_works)
    yield


@contextlib.asynccontextmanager
async def large_streams(scaler: Scaler) -> AsyncIterator[None]:
    """400 open streams with long metadata, of which 4 MiB are accepted."""
    calls = [scaler.keda.stub.StreamIsActive(reference(LARGE, f"o{n}", "evil")) for n in range(400)]
    await eventually(lambda: sum(call.done() for call in calls) > 150)
    yield
    for call in calls:
        call.cancel()


@contextlib.asynccontextmanager
async def few_bytes(scaler: Scaler) -> AsyncIterator[None]:
    """Check that Redis sends less than one big entry during the block."""

    async def sent() -> int:
        return int((await scaler.redis.info("stats"))["total_net_output_bytes"])

    before = await sent()
    yield
    assert await sent() - before < 1_000_000


@contextlib.asynccontextmanager
async def entries_of_1_megabyte(scaler: Scaler) -> AsyncIterator[None]:
    """A stream of three, with an open StreamIsActive."""
    await scaler.redis.eval(ADD_ENTRIES, 1, "big", 3, 1_000_000)
    await scaler.redis.xgroup_create("big", "g", "2-0")
    metadata = {**GOOD_STREAM, "keys": "big"}
    async with few_bytes(scaler), scaler.keda.activity(metadata, namespace="evil") as stream:
        await eventually(lambda: stream.received == [True])
        yield
    await scaler.redis.delete("big")


@contextlib.asynccontextmanager
async def costly_streams(scaler: Scaler) -> AsyncIterator[None]:
    """40 streams with an entry of 3 MB, one of them with 5,000 groups, and one whose entries have to be counted."""
    keys = [f"evil-{n}" for n in range(40)]
    await asyncio.gather(*(scaler.redis.eval(ADD_ENTRIES, 1, key, 1, 3_000_000) for key in keys))
    await asyncio.gather(*(scaler.redis.xgroup_create(key, "g", "0") for key in keys))
    await scaler.redis.eval(ADD_GROUPS, 1, keys[0], 5_000)
    await scaler.redis.eval(ADD_ENTRIES, 1, "evil-count", 20_000, 10)
    await scaler.redis.xgroup_create("evil-count", "g", "10000-0")
    await scaler.redis.xdel("evil-count", "15000-0")
    metadata = [{**GOOD_STREAM, "keys": key} for key in (*keys, "evil-count")]

    async def counted() -> bool:
        with contextlib.suppress(grpc.aio.AioRpcError):
            return await scaler.keda.target(metadata[-1], namespace="evil") == 9_999
        return False

    async with few_bytes(scaler), calls(*metadata, statuses=ANY)(scaler):
        yield
        await eventually(counted)
    await scaler.redis.delete(*keys, "evil-count")


ADD_ENTRIES = """
local payload = string.rep('x', ARGV[2])
for number = 1, ARGV[1] do redis.call('XADD', KEYS[1], number .. '-0', 'payload', payload) end
"""
ADD_GROUPS = "for number = 1, ARGV[1] do redis.call('XGROUP', 'CREATE', KEYS[1], 'other-' .. number, '0') end"
#: A busy machine may not measure all of its many keys in time.
ANY = {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
LARGE = {**GOOD, "app": "x" * 19_000}
SLOTS = b"*1\r\n*3\r\n:0\r\n:30000000\r\n*2\r\n$1\r\nh\r\n:1\r\n"
ATTACKS: dict[str, Attack] = {
    "100 keys with a } in each of 45 triggers": calls(
        *({**GOOD, "keys": " ".join(f"shop:{n}}}{key}" for key in range(100))} for n in range(45)), statuses=ANY
    ),
    "80,000 unknown options in each of 60 triggers": many_options,
    "a number of 401 digits": calls({**GOOD, "messagesPerWorker": "1" + "0" * 400}, statuses={"INVALID_ARGUMENT"}),
    "3,000 triggers of 19,000 characters": calls(*[LARGE] * 3_000, statuses=ANY),
    "400 streams of 19,000 characters": large_streams,
    "servers that flood with 100 MB": flood(b"$2000000000\r\n" + b"x" * 100_000_000),
    "servers with small parts": flood(b"*90000\r\n" + b"*0\r\n" * 90_000),
    "30,000,000 slots": flood(SLOTS, b"redis_version:7.2.4\r\nredis_mode:cluster\r\n"),
    "ten names that no DNS answers": calls(
        *({**GOOD, "connection": f"hangs-{number}"} for number in range(10)), statuses={"UNAVAILABLE"}
    ),
    "a date that does not exist": odd_file,
    "300 strings for one server": calls(
        *({**GOOD, "connectionStringFromEnv": f"198.51.100.1:1,defaultDatabase={n}"} for n in range(300)),
        statuses={"UNAVAILABLE", "RESOURCE_EXHAUSTED"},
    ),
    "an unknown connection": calls({**GOOD, "connection": "none"}, statuses={"FAILED_PRECONDITION"}),
    "500 half-open requests": half_open_requests,
    "entries of 1 MB": entries_of_1_megabyte,
    "40 streams with entries of 3 MB, 5,000 groups, and 9,999 entries to count": costly_streams,
}


async def test_every_hostile_input(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neighbours are answered while each hostile input is there, and the peak of the memory stays below the limit."""
    with server.client() as client:
        client.rpush("orders", "x")
        client.xgroup_create("payments", "g", mkstream=True)
        client.xadd("payments", {"number": 1})
    limit = yaml.safe_load((ROOT / "charts" / "triggerfish" / "values.yaml").read_text())["scaler"]["resources"][
        "limits"
    ]
    limit_mib = int(limit["memory"].removesuffix("Mi"))
    rows = ["| hostile input | VmHWM so far, MiB | limit | neighbours, ms |", "|---|---|---|---|"]
    async with scaler_process(server, tmp_path, limit_mib) as scaler:
        await scaler.serves_neighbours()
        for name, attack in ATTACKS.items():
            async with attack(scaler):
                seconds = await scaler.serves_neighbours()
            seconds = max(seconds, await scaler.serves_neighbours())
            rows.append(f"| {name} | {scaler.peak_mib():.0f} | {limit_mib} | {seconds * 1000:.0f} |")
            assert scaler.peak_mib() < limit_mib, rows[-1]
        with capsys.disabled():
            print("", *rows, sep="\n")  # noqa: T201
