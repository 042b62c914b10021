"""The backlogs of queues of other libraries, with keys as the libraries write them."""

import json
import time
from typing import Any

import pytest

from scaler.evaluation.evaluator import Evaluation, TrackedTrigger
from scaler.measuring.backlog import Backlog, Jobs, KeyBacklog
from scaler.monitoring.peer_trigger import PeerTrigger
from scaler.triggers.metadata import read_metadata
from scaler.triggers.owner import Owner
from tests.scaler.queues.contents import QUEUES, Contents, totals
from tests.support.running_scaler import RunningScaler
from tests.support.waiting import eventually
from tests.triggerfish.cli.test_probe import triggerfish
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("redis-6.2", "redis-7.2", "valkey-9.1")


async def status(scaler: RunningScaler) -> dict[str, Any]:
    """Return the JSON of the only trigger."""
    [found] = json.loads((await scaler.get("/api/v1/triggers"))[1])["triggers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", QUEUES)
async def test_waiting_due_and_running_jobs_count(server: Server, scaler: RunningScaler, name: str) -> None:
    """GetMetrics, IsActive and JSON have the jobs that wait, are due or in progress, and not those of the future."""
    contents = QUEUES[name]
    with server.client() as client:
        contents.fill(client, time.time())
    metadata = {**contents.metadata, "messagesPerWorker": "1"}
    assert await scaler.keda.target(metadata) == contents.backlog
    assert await scaler.keda.active(metadata) == (contents.backlog > 0)
    found = await status(scaler)
    assert totals(found["keys"]) == contents.parts
    assert found.get("backlog", 0) == contents.backlog
    if contents.parts[3]:
        assert any(key.get("nextDue") for key in found["keys"])
    samples = await scaler.samples()
    [due] = samples["triggerfish_trigger_due"].values()
    [in_progress] = samples["triggerfish_trigger_in_flight"].values()
    [scheduled] = samples["triggerfish_trigger_scheduled"].values()
    assert (due, in_progress, scheduled) == contents.parts[1:]


@pytest.mark.parametrize("name", [name for name, contents in QUEUES.items() if contents.pause is not None])
async def test_of_a_paused_queue_only_running_jobs_count(server: Server, scaler: RunningScaler, name: str) -> None:
    """Workers take nothing from a paused queue, but must not be stopped while they work."""
    contents = QUEUES[name]
    assert contents.pause is not None
    with server.client() as client:
        contents.fill(client, time.time())
        contents.pause(client)
    metadata = {**contents.metadata, "messagesPerWorker": "1"}
    assert await scaler.keda.target(metadata) == contents.parts[2]
    found = await status(scaler)
    assert totals(found["keys"]) == contents.parts
    assert found["keys"][0]["paused"] is True


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize("name", ["Celery", "RQ", "Laravel"])
async def test_explain_shows_the_parts(server: Server, name: str) -> None:
    """`explain --metadata` prints the jobs of each state."""
    contents = QUEUES[name]
    with server.client() as client:
        contents.fill(client, time.time())
    options = [part for key, value in contents.metadata.items() for part in ("-m", f"{key}={value}")]
    explained = await triggerfish("explain", *options, "--connection", server.address, "--json")
    assert explained.code == 0, explained.errors
    [found] = json.loads(explained.output)["triggers"]
    assert totals(found["keys"]) == contents.parts
    shown = (await triggerfish("explain", *options, "--connection", server.address)).output
    assert ("scheduled in" in shown) == (contents.parts[3] > 0)


@pytest.mark.parametrize("name", QUEUES)
def test_scalers_tell_each_other(name: str) -> None:
    """A scaler sends a trigger to another one as what it is, with all parts of its backlog."""
    scaled = read_metadata(QUEUES[name].metadata)
    jobs = Jobs(1, 2, 1_764_435_600.5, paused=True, capped=True, reported=False)
    backlog = Backlog((KeyBacklog("mail", 3, 4, jobs=jobs),), unsettled=True)
    tracked = TrackedTrigger(Owner("shop", "worker"), scaled)
    tracked.record(Evaluation(2, active=True, backlog=backlog, taken_at=time.monotonic()))
    received = PeerTrigger.model_validate_json(PeerTrigger.of(tracked).as_line()).tracked()
    assert received.scaled == scaled
    assert received.last is not None
    assert received.last.backlog == backlog


async def test_changes_are_measured(server: Server, scaler: RunningScaler) -> None:
    """A sample is not kept beyond a change."""
    contents: Contents = QUEUES["RQ"]
    metadata = {**contents.metadata, "messagesPerWorker": "1"}
    with server.client() as client:
        contents.fill(client, time.time())
        assert await scaler.keda.target(metadata) == contents.backlog
        client.rpush("rq:queue:mail", "x", "y")

        async def grown() -> bool:
            return await scaler.keda.target(metadata) == contents.backlog + 2

        await eventually(grown)
