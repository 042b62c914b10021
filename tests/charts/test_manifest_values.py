"""The chart accepts the values that `triggerfish manifest --helm-values` prints."""

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
    """Return the YAML documents that `triggerfish manifest` prints for the app in a folder."""
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
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True).stdout
    return list(yaml.safe_load_all(output))


@pytest.mark.parametrize(("functions", "min_replicas"), [(APP, 0), (APP + PUBSUB, 1)], ids=["queues", "mixed"])
def test_the_chart_accepts_the_values_that_manifest_prints(functions: str, min_replicas: int, tmp_path: Path) -> None:
    """Once the Secrets are filled in, the chart renders the ScaledObject that `triggerfish manifest` prints."""
    (tmp_path / "shop.py").write_text(functions)
    [values] = manifest(tmp_path, "--helm-values")
    with pytest.raises(Refused, match="secretName"):
        render(values)
    values["connection"]["secretName"] = values["connections"]["cache"]["secretName"] = "a-secret"
    rendered = render(values).one("ScaledObject")["spec"]
    printed = next(one for one in manifest(tmp_path) if one["kind"] == "ScaledObject")["spec"]
    read = [[read_metadata(trigger["metadata"]) for trigger in spec["triggers"]] for spec in (rendered, printed)]
    assert sorted(read[0], key=lambda scaled: scaled.function) == sorted(read[1], key=lambda scaled: scaled.function)
    for spec in (rendered, printed):
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (min_replicas, 100)
