"""A project of Azure Functions in a cluster: its values, the chart that takes them, and its image, as the docs say."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import yaml

from scaler.triggers.metadata import read_metadata
from tests.charts.containers import Node
from tests.charts.rendering import Refused, Rendered, merged, render
from tests.docs.blocks import DOCS, ROOT, blocks
from tests.support.programs.environment import environment
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

MIGRATING = DOCS / "how-to" / "migrating.md"
NAME = "write-behind"
SECRET = "a-secret"
SECONDS = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder above a project's, which has a secret and what else does not belong into an image."""
    project = shutil.copytree(ROOT / "examples" / "azure" / NAME, tmp_path / NAME)
    for name in (".venv/bin/python", ".git/config", "StoreOrder/__pycache__/main.pyc"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    return tmp_path


def manifest(folder: Path) -> list[dict[str, Any]]:
    """Return the documents that the command of the docs prints, without --helm-values: the objects."""
    return list(yaml.safe_load_all(_run(folder, *_manifest_command(), without="--helm-values")))


def rendered(folder: Path, database: Path | None = None) -> Rendered:
    """Return what the chart makes of the values that the command of the docs prints."""
    [values] = yaml.safe_load_all(_run(folder, *_manifest_command()))
    with pytest.raises(Refused, match="secretName"):
        render(values)
    values["connections"]["redisconnectionstring"]["secretName"] = SECRET
    if database is not None:  # an app setting that the code reads
        app = {"extraEnv": [{"name": "DATABASE", "value": str(database)}]}
        values = merged(values, {"apps": {NAME: app}})
    return render(values)


def built(folder: Path) -> Path:
    """Run the instructions of the Dockerfile in the docs, and return the working directory of the image.

    Its base has Triggerfish, as this environment has. Installing is left to pip, which finds everything installed.
    """
    [dockerfile] = blocks(MIGRATING, "Dockerfile")
    [ignored] = blocks(MIGRATING, "text")
    context, image = folder / NAME, folder / "app"
    image.mkdir()
    (context / "Dockerfile").write_text(dockerfile)
    (context / ".dockerignore").write_text(ignored)
    for keyword, _, rest in (line.partition(" ") for line in dockerfile.splitlines()):
        if keyword == "COPY":
            source, target = rest.split()
            _copy(context, source, image / target, ignored.split())
        elif keyword == "RUN":
            command, *arguments = shlex.split(rest)
            assert command == "pip"
            pip = [sys.executable, "-m", "pip", *arguments, "--no-index"]
            subprocess.run(pip, cwd=image, timeout=SECONDS, check=True)
        else:
            assert keyword in ("FROM", "USER")
    return image


def test_the_chart_renders_the_triggers(folder: Path) -> None:
    """The values are those of the project's triggers, and the container runs the project by its name."""
    objects = rendered(folder)
    printed = next(one for one in manifest(folder) if one["kind"] == "ScaledObject")
    found = [
        {
            scaled.function: scaled
            for trigger in one["spec"]["triggers"]
            if (scaled := read_metadata(trigger["metadata"]))
        }
        for one in (objects.one("ScaledObject"), printed)
    ]
    assert found[0] == found[1]
    assert found[0].keys() == {"StoreOrder", "StoreProduct"}
    [container] = objects.one("Deployment", NAME)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example/{NAME}:1.0"
    assert container["args"][:2] == ["run", NAME]


def test_the_image_has_no_secrets(folder: Path) -> None:
    """What .dockerignore names stays out, and the app has the project's name."""
    image = built(folder)
    files = {str(file.relative_to(image)) for file in image.rglob("*") if file.is_file()}
    assert {f"{NAME}/host.json", f"{NAME}/StoreOrder/function.json", f"{NAME}/shared/database.py"} <= files
    assert not [file for file in files if re.search(r"local\.settings|\.venv|\.git/|__pycache__", file)]


@pytest.mark.releases("valkey-9.1")
async def test_the_container_runs(server: Server, client: redis.asyncio.Redis, folder: Path) -> None:
    """The container of the chart, in the image of the docs, handles entries, and has the connection of the Secret."""
    database = folder / "shop.db"
    objects = rendered(folder, database)
    secrets = {SECRET: {"connection": server.address}}
    node = Node(objects, secrets, folder, built(folder))
    with node.running(NAME) as app:
        await app.ready()
        await client.xadd("orders", {"key": "order:1", "value": "two books"})
        await eventually(lambda: _is_empty(client))
        assert app.stop(SECONDS) == 0
    assert database.exists()
    assert not json.dumps(objects.manifests).count(server.address)


async def _is_empty(client: redis.asyncio.Redis) -> bool:
    return await client.exists("orders") == 1 and not await client.xlen("orders")


def _manifest_command() -> list[str]:
    """Return the command of the docs that prints the chart's values."""
    found = re.search(r"^\$ (triggerfish manifest \S+ --helm-values .*) > values.yaml$", MIGRATING.read_text(), re.M)
    assert found
    return shlex.split(found[1])


def _run(folder: Path, program: str, *arguments: str, without: str = "") -> str:
    assert program == "triggerfish"
    command = [sys.executable, "-m", program, *(one for one in arguments if one != without)]
    ran = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _copy(context: Path, source: str, target: Path, ignored: list[str]) -> None:
    """Copy like the instruction COPY, without what .dockerignore names at the top, or anywhere after **/."""
    anywhere = {one.removeprefix("**/") for one in ignored if one.startswith("**/")}
    at_top = {one for one in ignored if not one.startswith("**/")}

    def left_out(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name in anywhere or (Path(folder) == context and name in at_top)}

    if source == ".":
        shutil.copytree(context, target, ignore=left_out)
    else:
        shutil.copy(context / source, target)
