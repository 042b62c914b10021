"""What `triggerfish manifest --helm-values` writes is what the chart takes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.triggers.metadata import read_metadata
from tests.charts.rendering import Refused, render

APP = """
from triggerfish import App

app = App("My Shop")


@app.list_trigger(keys="orders", connection="Cache", messages_per_worker=50)
def handle(order: str): ...


@app.stream_trigger(keys=["payments", "refunds"], consumer_group="billing", delete_after_process=True)
def settle(payment: dict): ...


@app.list_trigger(keys="a b", delivery="at-most-once", connection="cache")
def pack(order: str): ...
"""
PUBSUB = """

@app.pubsub_trigger(channel="prices.*", pattern=False, connection="cache")
def reprice(price: str): ...
"""


def manifest(folder: Path, *options: str) -> list[dict[str, Any]]:
    """What the command writes for the app in a folder."""
    command = [
        sys.executable,
        "-m",
        "triggerfish",
        "manifest",
        "shop.py",
        "--name",
        "shop",
        "--image",
        "shop:1.0",
        *options,
    ]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True).stdout
    return list(yaml.safe_load_all(said))


@pytest.mark.parametrize(("functions", "least"), [(APP, 0), (APP + PUBSUB, 1)], ids=["queues", "mixed"])
def test_the_chart_takes_what_manifest_writes(functions: str, least: int, tmp_path: Path) -> None:
    """Once its Secrets are filled in, the chart makes the ScaledObject that `triggerfish manifest` makes."""
    (tmp_path / "shop.py").write_text(functions)
    [values] = manifest(tmp_path, "--helm-values")
    with pytest.raises(Refused, match="secretName"):
        render(values)
    values["connection"]["secretName"] = values["connections"]["cache"]["secretName"] = "a-secret"
    ours = render(values).one("ScaledObject")["spec"]
    theirs = next(one for one in manifest(tmp_path) if one["kind"] == "ScaledObject")["spec"]
    read = [[read_metadata(trigger["metadata"]) for trigger in spec["triggers"]] for spec in (ours, theirs)]
    assert sorted(read[0], key=lambda scaled: scaled.function) == sorted(read[1], key=lambda scaled: scaled.function)
    for spec in (ours, theirs):
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (least, 100)
