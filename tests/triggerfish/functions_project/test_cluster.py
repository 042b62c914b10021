"""Input and output bindings on a real cluster, with keys on all nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.support.programs.commands import running_command
from tests.support.waiting import eventually
from tests.triggerfish.functions_project.projects import LIST, add_function, command, new_project

#: Keys in different slots, on all three primaries.
KEYS = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster."""
    with Cluster(RELEASES["valkey-9.1"]) as running:
        yield running


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_bindings(cluster: Cluster, tmp_path: Path, prefix: str) -> None:
    """Commands go to the nodes of their keys, and replies keep their text."""
    client = cluster.client()
    for key in KEYS:
        client.set(key, f"value:{key}")
        client.zadd(f"z:{key}", {"m": 3})
        client.delete(f"seen:{key}")
    client.rpush("work", *KEYS)
    source = f"{prefix}def main(entry, value, score):\n    return ['seen:' + entry + ' ' + value + ' ' + score]"
    project = new_project(tmp_path, connection=cluster.address)
    inputs = command("in", "GET {Value}"), command("in", "ZSCORE z:{Value} m", "score")
    add_function(project, "Work", source, LIST, *inputs, command("out", "RPUSH", "$return"))
    with running_command(tmp_path, "run", ".", "--until-empty") as running:
        await eventually(lambda: running.process.poll() is not None)
    assert running.process.returncode == 0, running.errors
    found = {key: client.lrange(f"seen:{key}", 0, -1) for key in KEYS}
    assert found == {key: [f"value:{key}", "3"] for key in KEYS}, running.errors
    client.close()
