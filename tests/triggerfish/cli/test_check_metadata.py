"""`triggerfish check --metadata`: whether the scaler can measure what a ScaledObject declares."""

import json
import time

import pytest

from tests.scaler.queues.contents import QUEUES
from tests.triggerfish.cli.test_probe import Finished, triggerfish
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")


async def check(server: Server, *options: str, queue: str = "mail") -> Finished:
    """Check an RQ queue."""
    metadata = ("-m", "type=RQQueue", "-m", f"queue={queue}")
    return await triggerfish("check", *metadata, *options, "--connection", server.address)


async def test_a_queue_with_jobs(server: Server) -> None:
    """It is ok, and its backlog is shown, also as JSON."""
    with server.client() as client:
        QUEUES["RQ"].fill(client, time.time())
        keys = sorted(client.keys())
        checked = await check(server)
        as_json = await check(server, "--json")
        assert sorted(client.keys()) == keys
    assert (checked.code, as_json.code) == (0, 0)
    [trigger] = json.loads(as_json.output)["triggers"]
    assert checked.output == f"ok   RQ queue mail: backlog {trigger['backlog']}\n"
    assert trigger["backlog"] > 0


async def test_a_misspelt_queue(server: Server) -> None:
    """It is a warning, with the names of the queues that exist."""
    with server.client() as client:
        QUEUES["RQ"].fill(client, time.time())
    checked = await check(server, queue="emial")
    assert checked.code == 0
    ok, warning = checked.output.splitlines()
    assert ok == "ok   RQ queue emial: backlog 0"
    assert warning.startswith("warn ")
    assert "'emial' exists" in warning
    assert "'mail'" in warning


async def test_a_key_of_another_type(server: Server) -> None:
    """It fails, and names the key."""
    with server.client() as client:
        client.set("rq:queue:mail", "x")
    checked = await check(server)
    assert checked.code == 1
    assert checked.output.startswith("FAIL ")
    assert "rq:queue:mail" in checked.output


async def test_an_app_beside_metadata(server: Server) -> None:
    """Only one of them can be checked."""
    checked = await check(server, "shop.py")
    assert checked.code == 2
    assert "--metadata" in checked.errors
