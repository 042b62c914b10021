"""No one trigger cuts off what all triggers share: /metrics, the JSON and the status page."""

from collections.abc import Sequence

import pytest
from grpc import StatusCode

from tests.support.network.scripted_server import scripted_server
from tests.support.running_scaler import RunningScaler, failure, running_scaler
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "RedisListTrigger", "keys": "orders", "messagesPerWorker": "1"}
STREAM = {"type": "RedisStreamTrigger", "keys": "orders", "messagesPerWorker": "1"}
LARGEST = b":9223372036854775807\r\n"


def exec_reply(first: bytes, second: bytes) -> dict[bytes, bytes]:
    """Return the replies of a transaction with two commands."""
    queued = b"+QUEUED\r\n"
    return {b"MULTI": b"+OK\r\n", b"EXEC": b"*2\r\n" + first + second} | dict.fromkeys(
        (b"LLEN", b"ZCARD", b"XINFO", b"XLEN"), queued
    )


async def known(scaler: RunningScaler) -> dict[str, float]:
    """Return which ScaledObjects /metrics reports as known."""
    series = (await scaler.samples())["triggerfish_trigger_known"]
    return {dict(labels)["scaledobject"]: value for labels, value in series.items()}


ODD_REPLIES = {
    "a text as length": (LIST, exec_reply(b"$3\r\nabc\r\n", b"$3\r\ndef\r\n")),
    "negative": (LIST, exec_reply(b":-5\r\n", b":0\r\n")),
    "beyond 64 bits": (LIST, exec_reply(LARGEST, LARGEST)),
    "a list as length": (LIST, exec_reply(b"*0\r\n", b"*0\r\n")),
    "an empty stream with a text as length": (
        STREAM,
        exec_reply(b"*0\r\n", b"*4\r\n$6\r\nlength\r\n$3\r\nabc\r\n$11\r\nfirst-entry\r\n*-1\r\n"),
    ),
}


@pytest.mark.parametrize("odd", ODD_REPLIES)
async def test_odd_replies(server: Server, odd: str) -> None:
    """A backlog that no Redis has is an unknown backlog, and the other triggers are still shown."""
    metadata, replies = ODD_REPLIES[odd]

    def reply(command: Sequence[bytes]) -> bytes:
        return replies.get(command[0], b"*2\r\n:1\r\n$400\r\n" + b"9" * 400 + b"\r\n")

    async with scripted_server(reply) as odd_server:
        connections = {"odd": f"127.0.0.1:{odd_server.port}"}
        async with running_scaler(server, connections=connections) as scaler:
            with failure(StatusCode.UNAVAILABLE, "unreadable reply"):
                await scaler.keda.target({**metadata, "connection": "odd"}, name="odd")
            assert await scaler.keda.target(LIST, name="good") == 0
            assert await known(scaler) == {"odd": 0, "good": 1}
            for path in ("/", "/api/v1/triggers"):
                status, text = await scaler.get(path)
                assert status == 200
                assert "good" in text
