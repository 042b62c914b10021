"""Triggers as JSON with odd names, and text that is safe to display."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import reduce
from typing import Any

import pytest
import redis.asyncio
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from listeners.text import printable
from scaler.monitoring.status import TriggerStatus, api_path, owner_and_metric
from scaler.triggers.owner import Owner
from tests.support.running_scaler import RunningScaler, failure, running_scaler
from triggerfish.testing.server import Server

LIST = {"type": "redisListTrigger", "keys": "orders", "function": "handle"}
#: Names with characters that are special in a path, a header, JSON or a page.
ODD_NAMES = [
    "a/b",
    "a%2Fb",
    "quo\"te's",
    "line\nbreak\r\n",
    "\u00fcn\u00ef\u4e2d\U0001f421",
    "<b>&amp;",
    "?#;=+ ",
    "\x00\x7f",
]


async def fetched(scaler: RunningScaler, path: str) -> tuple[int, dict[str, Any]]:
    """Return the response to a plain HTTP client, which, like KEDA, sends the path unchanged."""
    return await asyncio.to_thread(_fetch, f"http://127.0.0.1:{scaler.server.http_port}{path}")


def _fetch(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:  # noqa: S310  (our own http:// address)
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def at(location: str, page: Any) -> object:
    """Return the value at a location such as keys.0.length, as KEDA's metrics-api trigger looks it up."""
    return reduce(lambda found, part: found[int(part) if isinstance(found, list) else part], location.split("."), page)


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names_have_a_path(scaler: RunningScaler, client: redis.asyncio.Redis, name: str) -> None:
    """Whatever a ScaledObject is called, its path is plain ASCII and leads to it alone."""
    await client.rpush("orders", *range(101))
    await scaler.keda.target(LIST, namespace=name, name="worker")
    await scaler.keda.target({**LIST, "messagesPerWorker": "1"}, namespace="shop", name=name)
    _, listed = await fetched(scaler, "/api/v1/triggers")
    targets = {}
    for shown in listed["triggers"]:
        assert shown["path"].isascii()
        assert shown["path"].isprintable()
        status, page = await fetched(scaler, f"/api/v1/triggers/{shown['path']}")
        assert (status, page["path"]) == (200, shown["path"])
        targets[page["namespace"], page["scaledObject"]] = at("target", page)
    assert targets == {(name, "worker"): 2, ("shop", name): 101}


@given(namespace=st.text(), name=st.text(), metric=st.text(), declared=st.booleans())
def test_every_path_leads_back(namespace: str, name: str, metric: str, declared: bool) -> None:
    """A path is parsed as the trigger that it was made for, even if parts are empty or contain slashes."""
    owner = Owner("" if declared else namespace, name, declared)
    assert owner_and_metric(api_path(owner, metric)) == (owner, metric)


@pytest.mark.parametrize("path", ["", "a", "a/b/c/d", "%ff/%00/x"])
def test_paths_of_no_trigger(path: str) -> None:
    """A path with too few or too many parts is no trigger's path, and bytes that are not text raise no error."""
    assert owner_and_metric(path) is None or path == "%ff/%00/x"


@pytest.mark.releases("valkey-9.1")
async def test_a_declared_trigger_is_not_shadowed(server: Server, client: redis.asyncio.Redis) -> None:
    """A request with no namespace and a declared trigger's name has a different path."""
    await client.rpush("orders", *range(10))
    declared = {**LIST, "messagesPerWorker": "5"}
    async with running_scaler(server, triggers={"both": declared}) as scaler:
        await scaler.keda.target({**LIST, "messagesPerWorker": "1"}, namespace="", name="both")
        _, listed = await fetched(scaler, "/api/v1/triggers")
        pages = [await fetched(scaler, f"/api/v1/triggers/{shown['path']}") for shown in listed["triggers"]]
        assert {(status, page.get("declared"), page["target"]) for status, page in pages} == {
            (200, True, 2),
            (200, None, 10),
        }


@pytest.mark.releases("valkey-9.1")
async def test_values_that_metrics_api_reads(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """`valueLocation: target` and other locations lead to numbers, as KEDA's metrics-api trigger needs."""
    await client.rpush("orders", *range(101))
    await scaler.keda.poll(LIST)
    [path] = [shown["path"] for shown in (await fetched(scaler, "/api/v1/triggers"))[1]["triggers"]]
    _, page = await fetched(scaler, f"/api/v1/triggers/{path}")
    found = [at(location, page) for location in ("target", "backlog", "keys.0.length", "keys.0.inFlight")]
    assert found == [2, 101, 101, 0]
    assert [type(value) for value in found] == [int] * 4
    assert TriggerStatus.model_validate(page).as_json() == page


@pytest.mark.releases("valkey-9.1")
async def test_a_connection_that_does_not_exist(scaler: RunningScaler) -> None:
    """A ScaledObject with an unknown connection is listed as unknown, with the fix and without a number."""
    metadata: Mapping[str, str] = {**LIST, "connection": "queue"}
    with failure(StatusCode.FAILED_PRECONDITION):
        await scaler.keda.target(metadata)
    _, listed = await fetched(scaler, "/api/v1/triggers")
    [shown] = listed["triggers"]
    assert (shown["known"], shown["reason"]) == (False, "configuration")
    assert "TRIGGERFISH_CONNECTIONS__QUEUE" in shown["error"]
    status, page = await fetched(scaler, f"/api/v1/triggers/{shown['path']}")
    assert (status, page["known"]) == (409, False)
    assert not {"target", "active", "backlog"} & set(page)


def test_printable() -> None:
    """Printable text is one line, has control characters escaped, and is never longer than requested."""
    assert printable("orders [red]{1}\u4e2d\U0001f421") == "orders [red]{1}\u4e2d\U0001f421"
    assert printable("a\nb\x1b[2J\u202ec\x00") == r"a\nb\x1b[2J\u202ec\x00"
    assert printable("x" * 120) == "x" * 120
    assert printable("x" * 121) == "x" * 119 + "\u2026"
    assert len(printable("\U000e0001" * 10**6, 20)) == 20
