"""Writes the page, the plot and the JSON to docs/benchmarks."""

import dataclasses
import json
from pathlib import Path

from benchmarks.scaler.plot import draw
from benchmarks.scaler.results import Results
from benchmarks.scaler.tables import about_lines, tables

__all__ = ["write"]

HEAD = """# Scaler benchmark

Written by `make bench-scaler`. [benchmarks.md](../benchmarks.md) describes what is measured and how.

{about}

![Latency, CPU time and memory by number of ScaledObjects](scaler.svg)
"""


def write(results: Results, folder: Path) -> None:
    """Write scaler.md, scaler.json and scaler.svg into a folder, which is created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(results, folder / "scaler.svg")
    (folder / "scaler.json").write_text(json.dumps(dataclasses.asdict(results), indent=2) + "\n")
    about = "\n".join(f"- {line}" for line in about_lines(results))
    parts = [HEAD.format(about=about), *(table.markdown() for table in tables(results))]
    (folder / "scaler.md").write_text("\n".join(parts))
