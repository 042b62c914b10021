"""A short run of the chaos suite; `make chaos` is the full one."""

import random
import secrets
from pathlib import Path

import pytest

from tests.chaos.plan import SHORT
from tests.chaos.run import run
from tests.chaos.scenarios.standalone import Standalone
from tests.chaos.verdict.judge import judge
from tests.chaos.verdict.report import show
from triggerfish.cli.output import stdout


@pytest.mark.timeout(300)  # half a minute, but many processes: a busy machine takes longer
async def test_nothing_is_lost_under_random_faults(tmp_path: Path) -> None:
    """Every confirmed entry is handled although processes die, connections break and functions raise."""
    seed = secrets.randbelow(1_000_000)
    scenario = Standalone(random.Random(f"{seed} scenario"), release="valkey-9.1", stop_seconds=SHORT.stop_seconds)
    evidence = await run(scenario, SHORT, seed, tmp_path)
    verdict = judge(evidence)
    show(evidence, verdict, stdout(), title=f"seed {seed}, records in {tmp_path}")
    assert verdict.good
