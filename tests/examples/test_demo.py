"""`make demo`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(180)
def test_the_demo_ends_with_nothing_lost() -> None:
    """The demo ends by itself, with all entries handled once, more than one instance, and back at the minimum."""
    ran = subprocess.run(
        [sys.executable, "-m", "examples.demo"], capture_output=True, text=True, timeout=150, check=False, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"pub/sub calls per message: 1; instances: [2-4] at the peak, 1 at the end, 0 crashed", ran.stdout)
    last_table = ran.stdout[ran.stdout.rindex("length  in flight") : ran.stdout.index("Summary")]
    assert "instances: 1 running, 0 draining, target 1" in last_table
    assert re.search(r"handle_order .* 0 +2500 +0$", last_table, re.MULTILINE), last_table
    for kind in ("orders", "payments", "prices"):
        assert re.search(rf"│ {kind} +│ [\d,]+ +│ [\d,]+ +│ 0 +│ 0 +│", ran.stdout), ran.stdout
