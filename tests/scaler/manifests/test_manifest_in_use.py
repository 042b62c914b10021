"""Output of `triggerfish manifest` in use: a scaler answers its triggers, and its container runs and serves probes."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis.asyncio
import yaml

from examples.demo.app import app as demo
from listeners.runtime.child_processes import die_with_parent
from scaler.triggers.metadata import metric_name
from tests.support.programs.environment import environment
from tests.support.running_scaler import RunningScaler
from tests.support.waiting import eventually
from tests.triggerfish.cli.test_probe import CALLS, address_of, triggerfish
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

ROOT = Path(__file__).parents[3]
APP = """
from triggerfish import App
app = App()

@app.list_trigger(keys="orders", connection="Cache")
def handle(order: str): ...

@app.pubsub_trigger(channel="prices.*")
def reprice(price: str): ...
"""


async def test_a_scaler_answers_the_demos_triggers(
    scaler: RunningScaler, client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    """The scaler answers KEDA's calls for each trigger of the demo, under the metric name of the app's trigger."""
    await client.rpush("orders", *range(5001))
    printed = await triggerfish("manifest", str(ROOT / "examples/demo/app.py"), "--scaler-address", address_of(scaler))
    assert (printed.code, printed.errors) == (0, "")
    file = tmp_path / "demo.yaml"
    file.write_text(printed.output)
    probed = await triggerfish("probe", address_of(scaler), "--file", str(file), "-n", "till")
    assert probed.code == 0, probed
    assert [row[0] for row in probed.rows()] == CALLS * 3
    named = [row[4].removesuffix(",") for row in probed.rows() if row[0] == "GetMetricSpec"]
    assert named == [metric_name(one.trigger, one.name) for one in demo.functions.values()]
    values = [" ".join(row[4:6]) for row in probed.rows() if row[0] == "GetMetrics"]
    assert values == ["value 3,", "value 0,", "value 1,"]


async def test_the_container_runs(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """The Deployment's command, environment and files start a host that works, serves the probes, and exits in time."""
    (tmp_path / "shop.py").write_text(APP)
    printed = await triggerfish("manifest", str(tmp_path / "shop.py"), "--image", "shop:1")
    deployment = next(yaml.safe_load_all(printed.output))
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    secret = {"default": server.address, "cache": server.address}
    port = free_port()
    command = [str(port) if word == "8080" else word for word in container["command"][1:]]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "triggerfish", *command),
        env={**environment(), **container_variables(container, pod, secret, tmp_path)},
        cwd=ROOT,
        preexec_fn=die_with_parent(),
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                await eventually(partial(_answers, session, container[probe]["httpGet"]["path"]))
        await client.rpush("orders", "x")
        await eventually(lambda: _empty(client))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(pod["terminationGracePeriodSeconds"]):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def container_variables(
    container: Mapping[str, Any], pod: Mapping[str, Any], secret: Mapping[str, str], folder: Path
) -> dict[str, str]:
    """Return the container's variables, and write its mounted Secret to a folder, as the kubelet does."""
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    [volume] = [volume for volume in pod["volumes"] if "secret" in volume]
    mounted = folder / "mounted"
    mounted.mkdir()
    for item in volume["secret"]["items"]:
        (mounted / item["path"]).write_text(secret[item["key"]])
    variables = {}
    for variable in container["env"]:
        value = variable.get("value") or secret[variable["valueFrom"]["secretKeyRef"]["key"]]
        variables[variable["name"]] = str(mounted) if value == mounts[volume["name"]] else value
    return variables


async def _answers(session: aiohttp.ClientSession, path: str) -> bool:
    try:
        async with session.get(path) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _empty(client: redis.asyncio.Redis) -> bool:
    return not await client.exists("orders", "triggerfish:{orders}:inflight")


async def test_drift_exits_with_one(tmp_path: Path) -> None:
    """With drift, `--check` prints the diff, and the fix on standard error, and exits with status 1."""
    app, file = tmp_path / "shop.py", tmp_path / "shop.yaml"
    app.write_text(APP)
    file.write_text((await triggerfish("manifest", str(app), "--helm-values")).output)
    app.write_text(APP.replace("orders", "returns"))
    changed = await triggerfish("manifest", str(app), "--check", str(file))
    assert changed.code == 1
    assert "-  keys: orders\n+  keys: returns\n" in changed.output
    assert "or generate the file again with its original options" in changed.errors
