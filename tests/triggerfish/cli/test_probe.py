"""`triggerfish probe`: its calls, their order, its output and exit status."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis.asyncio

from scaler.keda.probe import client_tls
from tests.support.network.certificates import Authority
from tests.support.network.tls_proxy import tls_proxy
from tests.support.programs.environment import environment
from tests.support.running_scaler import RunningScaler
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

SECONDS = 60
LIST = ("--metadata", "type=RedisListTrigger", "--metadata", "keys=orders")
CALLS = ["GetMetricSpec", "GetMetrics", "IsActive", "StreamIsActive", "StreamMetricSpec", "Health"]
SCALED_OBJECT = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: shop, namespace: till}}
spec:
  triggers:
    - {{type: cpu, metadata: {{value: "50"}}}}
    - {{type: external, metadata: {{scalerAddress: "other:9090", queue: x}}}}
    - type: external-push
      metadata: {{scalerAddress: "{address}", type: RedisListTrigger, keys: orders, function: handle}}
    - type: external-push
      metadata: {{scalerAddress: "forwarded.svc:6000", type: RedisStreamTrigger, keys: payments}}
"""


@dataclass(frozen=True)
class Finished:
    """The exit status and the output of a command."""

    code: int
    output: str
    errors: str

    def rows(self) -> list[list[str]]:
        """Return the rows of the tables: the call, its duration, its status, and what KEDA sees."""
        lines = (line.split() for line in self.output.splitlines())
        return [words for words in lines if words[:1] and words[0] in CALLS]

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each call."""
        return {call: next(word for word in rest if word.isupper() or word == "-") for call, *rest in self.rows()}


async def triggerfish(*arguments: str) -> Finished:
    """Run `triggerfish` to its end."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "triggerfish", *arguments, stdout=pipe, stderr=pipe, env=environment()
    )
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    return Finished(process.returncode or 0, output.decode(), errors.decode())


def address_of(scaler: RunningScaler) -> str:
    """Return the address of a scaler's gRPC port."""
    return f"127.0.0.1:{scaler.server.grpc_port}"


async def test_a_list_with_a_backlog(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """The probe prints the metric's name and target size, its value, the instances and the activity."""
    await client.rpush("orders", *range(250))
    probed = await triggerfish("probe", address_of(scaler), *LIST)
    assert (probed.code, probed.errors) == (0, "")
    rows = probed.rows()
    assert [row[0] for row in rows] == CALLS
    assert {row[3] for row in rows} == {"OK"}
    assert all(row[1].isdecimal() and row[2] == "ms" for row in rows)
    seen = {row[0]: " ".join(row[4:]) for row in rows}
    assert seen["GetMetricSpec"].startswith("triggerfish-list-")
    assert seen["GetMetricSpec"].endswith(", target size 1")
    assert seen["GetMetrics"] == "value 3, so 3 instances"
    assert seen["IsActive"] == "active"
    assert seen["StreamIsActive"].startswith("active, after ")
    assert (seen["StreamMetricSpec"], seen["Health"]) == ("same as GetMetricSpec", "SERVING")
    assert "default/triggerfish-probe: RedisListTrigger orders" in probed.output


async def test_an_idle_trigger(scaler: RunningScaler) -> None:
    """An empty list is not active, nothing is received on its stream, and this is not a failure."""
    probed = await triggerfish("probe", address_of(scaler), *LIST)
    assert probed.code == 0
    assert "value 0, so 0 instances" in probed.output
    assert "not active" in probed.output
    assert "open, no message within 1 s" in probed.output


async def test_failed_calls(scaler: RunningScaler) -> None:
    """Failed calls show their status and the scaler's message; equal messages are printed once; exit status 1."""
    unknown = await triggerfish("probe", address_of(scaler), *LIST, "-m", "connection=queue")
    assert unknown.code == 1
    assert unknown.statuses["GetMetricSpec"] == "OK"
    assert unknown.statuses["GetMetrics"] == unknown.statuses["IsActive"] == "FAILED_PRECONDITION"
    assert unknown.output.count("TRIGGERFISH_CONNECTIONS__QUEUE") == 1
    assert "2 calls failed" in unknown.output
    misspelt = await triggerfish("probe", address_of(scaler), "-m", "type=RedisListTriger", "-m", "keys=orders")
    assert misspelt.code == 1
    assert misspelt.statuses["GetMetricSpec"] == "OK"
    assert misspelt.statuses["GetMetrics"] == misspelt.statuses["IsActive"] == "INVALID_ARGUMENT"
    assert "'RedisListTriger'" in misspelt.output


async def test_half_migrated_metadata(scaler: RunningScaler) -> None:
    """All keys of KEDA's own scaler are in the scaler's answer, each with the one to use here."""
    old = {"listName": "keys", "listLength": "messagesPerWorker", "activationListLength": "activationMessages"}
    old |= dict.fromkeys(("host", "port", "username", "password", "databaseIndex"), "connection")
    metadata = [word for key in old for word in ("-m", f"{key}=5")]
    probed = await triggerfish("probe", address_of(scaler), "--json", "-m", "type=RedisListTrigger", *metadata)
    for key, ours in old.items():
        assert f"{key}: Did you mean {ours}?" in probed.output


async def test_an_unreachable_scaler() -> None:
    """If nothing listens, the probe makes one call, prints a hint and exits with status 1, without a traceback."""
    probed = await triggerfish("probe", f"127.0.0.1:{free_port()}", *LIST)
    assert (probed.code, probed.errors) == (1, "")
    assert probed.statuses == {"GetMetricSpec": "UNAVAILABLE"}
    assert "does TLS match" in probed.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["localhost"], ["ADDRESS", "'localhost'", "localhost:6000"]),
        (["http://localhost:6000"], ["ADDRESS", "host:port"]),
        (["localhost:6000"], ["--metadata KEY=VALUE", "--file"]),
        (["localhost:6000", "-m", "hunter2"], ["--metadata", "KEY=VALUE"]),
        (["localhost:6000", "-m", "=hunter2"], ["--metadata", "KEY=VALUE"]),
        (["localhost:6000", "-m", "keys=hunter2", "-m", "keys=b"], ["--metadata", "'keys'", "twice"]),
        (["localhost:6000", "--file", "missing.yaml"], ["--file", "'missing.yaml'", "cannot be read"]),
        (["localhost:6000", *LIST, "--ca-file", "missing.pem"], ["--ca-file", "'missing.pem'", "No such file"]),
        (["localhost:6000", *LIST, "--certificate-file", "a.pem"], ["--key-file", "both"]),
        (["localhost:6000", *LIST, "--key-file", "a.pem"], ["--certificate-file", "both"]),
        (["localhost:6000", *LIST, "--service-account", "missing"], ["--service-account", "--file"]),
    ],
)
async def test_mistakes(arguments: list[str], words: list[str]) -> None:
    """Invalid arguments exit with status 2 and one line that names the mistake and contains no metadata values."""
    probed = await triggerfish("probe", *arguments)
    assert (probed.code, probed.output) == (2, "")
    [line] = probed.errors.splitlines()
    assert all(word in line for word in words), line
    assert "hunter2" not in line


async def test_a_file(scaler: RunningScaler, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """With --file, the external triggers of the ScaledObject are probed under its name; skipped triggers are named."""
    await client.rpush("orders", "x")
    file = tmp_path / "so.yaml"
    file.write_text(SCALED_OBJECT.format(address=address_of(scaler)))
    probed = await triggerfish("probe", address_of(scaler), "--file", str(file))
    assert probed.code == 0, probed
    assert [row[0] for row in probed.rows()] == CALLS * 2
    assert "till/shop: RedisListTrigger orders handle" in probed.output
    assert "till/shop: RedisStreamTrigger payments" in probed.output
    assert "skipped spec.triggers[0]: a built-in KEDA trigger of type cpu" in probed.output
    assert "skipped spec.triggers[1]: external at other:9090" in probed.output
    asked = {(one.owner.namespace, one.owner.name) for one in scaler.server.evaluator.tracked()}
    assert asked == {("till", "shop")}


async def test_a_scaled_job(scaler: RunningScaler, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """The triggers of a ScaledJob are probed as those of a ScaledObject: the value is the number of jobs."""
    await client.rpush("orders", *range(250))
    file = tmp_path / "job.yaml"
    text = SCALED_OBJECT.format(address=address_of(scaler)).replace("ScaledObject", "ScaledJob")
    file.write_text(text.replace("external-push", "external"))
    probed = await triggerfish("probe", address_of(scaler), "--file", str(file))
    assert probed.code == 0, probed
    assert "till/shop: RedisListTrigger orders handle" in probed.output
    assert "value 3, so 3 instances" in probed.output


async def test_tls(scaler: RunningScaler, tmp_path: Path) -> None:
    """The probe verifies the certificate with --ca-file, for scalerAddress if there is one; enableTLS enables TLS."""
    Authority().write(tmp_path / "ours", "scaler.triggerfish.svc")
    Authority().write(tmp_path / "other")
    async with tls_proxy(scaler.server.grpc_port, tmp_path / "ours") as port:
        address = f"127.0.0.1:{port}"
        named = (*LIST, "-m", "scalerAddress=scaler.triggerfish.svc:6000")
        verified = ("--ca-file", str(tmp_path / "ours" / "ca.crt"))
        good = await triggerfish("probe", address, *named, *verified)
        assert good.code == 0, good
        assert set(good.statuses.values()) == {"OK"}
        for wrong in (
            [*named, "--ca-file", str(tmp_path / "other" / "ca.crt")],
            [*named],
            [*named, "-m", "enableTLS=true"],
            [*LIST, "-m", "scalerAddress=elsewhere:6000", *verified],
        ):
            refused = await triggerfish("probe", address, *wrong)
            assert (refused.code, refused.statuses) == (1, {"GetMetricSpec": "UNAVAILABLE"}), wrong


async def test_mutual_tls(scaler: RunningScaler, tmp_path: Path) -> None:
    """A scaler that requires client certificates can only be probed with --certificate-file and --key-file."""
    server, client = tmp_path / "server", tmp_path / "client"
    Authority().write(server).write(client, "keda")
    async with tls_proxy(scaler.server.grpc_port, server, server / "ca.crt") as port:
        address = f"localhost:{port}"
        verified = ("--ca-file", str(server / "ca.crt"))
        certificate = ("--certificate-file", str(client / "tls.crt"), "--key-file", str(client / "tls.key"))
        good = await triggerfish("probe", address, *LIST, *verified, *certificate)
        assert (good.code, set(good.statuses.values())) == (0, {"OK"}), good
        refused = await triggerfish("probe", address, *LIST, *verified)
        assert (refused.code, refused.statuses) == (1, {"GetMetricSpec": "UNAVAILABLE"})


def test_no_tls_without_files() -> None:
    """Without certificate files, TLS is off."""
    assert client_tls(None, None, None) is None


async def test_nothing_is_changed(scaler: RunningScaler, server: Server) -> None:
    """A probe leaves no key in Redis."""
    await triggerfish("probe", address_of(scaler), *LIST)
    with server.client() as client:
        assert client.dbsize() == 0
