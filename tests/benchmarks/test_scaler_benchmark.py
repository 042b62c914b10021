"""The benchmark of the scaler, run briefly with few ScaledObjects."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SIZE = 40
#: The first cells of every row.
ROWS: dict[str, list[tuple[str, ...]]] = {
    "Answering KEDA": [("40", "32"), ("40", "40")],
    "Cost of one evaluation for Redis": [("40", "32"), ("40", "40"), ("20 (lists)", "20"), ("20 (streams)", "20")],
    "Activation": [("40", "tracking"), ("40", "polling")],
    "Cost of watching idle triggers": [("40", "tracking"), ("40", "polling")],
    "Many keys on one connection": [("400",)],
    "Memory of the scaler": [("40", "polls"), ("40", "open streams")],
}


@pytest.mark.timeout(300)  # a minute on a quiet machine
def test_the_benchmark_fills_every_table(tmp_path: Path) -> None:
    """Each table has all its rows, no measurement is missing, and commands are counted exactly."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.scaler",
        "--sizes",
        str(SIZE),
        "--seconds",
        "0.3",
        "--folder",
        str(tmp_path),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    check_results(json.loads((tmp_path / "scaler.json").read_text()))
    page = (tmp_path / "scaler.md").read_text()
    assert {
        title: rows(page, title, len(ROWS[title][0])) for title in re.findall(r"^## (.*)$", page, re.MULTILINE)
    } == ROWS
    assert all(title in ran.stdout for title in ROWS)
    assert "</svg>" in (tmp_path / "scaler.svg").read_text()


def check_results(found: dict[str, Any]) -> None:
    """Check that no poll failed, no activation was missed, and KEDA's own scalers were simulated exactly: a script,
    TYPE and LLEN for a list, INFO and XINFO GROUPS for a stream.
    """
    assert found["unfinished"] == []
    assert [one["failures"] for one in found["answering"]] == [{}, {}]
    assert all(one["samples"] > 0 and one["missed"] == 0 for one in found["activation"])
    assert all(one["then"] >= one["at_rest"] > 10e6 for one in found["memory"])
    sent = {cost["reads"]: cost["keda"]["commands"] for cost in found["redis"]}
    near = partial(pytest.approx, rel=0.02)  # one command a second is no cost of an evaluation
    assert sent == {"lists": near(3), "streams": near(2), "all": near(2.5)}


def rows(page: str, title: str, cells: int) -> list[tuple[str, ...]]:
    """Return the first cells of each row of a table."""
    table = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return [tuple(line[:cells]) for line in lines[2:]]
