"""The benchmark of the function host: its tables and its page, without measuring."""

from pathlib import Path

import pytest

from benchmarks.host import busy, surroundings
from benchmarks.host.__main__ import write
from benchmarks.host.app_run import OWN_COMMAND
from benchmarks.host.scenarios import Scenario
from benchmarks.host.surroundings_app import VARIANTS
from benchmarks.host.throughput import OURS, Run, Runs, table
from benchmarks.tables import UNKNOWN, Table, spread
from triggerfish.testing.server import Server, embedded_binary

SCENARIO = Scenario.parse("list:at-least-once:entries:10")


def runs(*rates: float) -> list[Run]:
    return [Run(entries=1000, seconds=1000 / rate, cpu_seconds=500 / rate) for rate in rates]


FOUND: Runs = {(SCENARIO, OURS): runs(20_000, 9_000, 30_000), (SCENARIO, "plain"): runs(10_000, 3_000, 20_000)}


def test_ratios_compare_runs_of_the_same_round() -> None:
    ours, plain = table(FOUND).rows
    assert list(ours) == [SCENARIO.description, OURS, "20,000", "25.0", UNKNOWN, UNKNOWN]
    assert list(plain) == [SCENARIO.description, "plain", "10,000", "50.0", "2.00 (1.50-3.00)", "2.00 (1.50-3.00)"]


def test_the_page_has_the_tables_and_the_plot(tmp_path: Path) -> None:
    write(["a machine"], FOUND, [table(FOUND)], tmp_path / "new")
    page = (tmp_path / "new" / "host.md").read_text()
    assert "- a machine" in page
    assert "| list, at least once, entry per call, batch 10 | plain | 10,000 |" in page
    assert SCENARIO.description in (tmp_path / "new" / "host.svg").read_text()


def test_a_table_as_markdown() -> None:
    shown = Table("Title", "A note.", ("what", "how many"), [("a", "1")], texts=1).markdown()
    assert shown == "## Title\n\n| what | how many |\n| --- | ---: |\n| a | 1 |\n\nA note.\n"


def test_the_spread_of_no_ratios_is_not_zero() -> None:
    assert spread([]) == UNKNOWN
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00-3.00)"


def test_busy_triggers_beside_another_version() -> None:
    """Ratios compare this version with the other one round by round; without another one there are none."""
    found = {
        ("list", 20, busy.OURS): [Run(1000, 0.1, 0.02), Run(1000, 0.2, 0.03)],
        ("list", 20, busy.OTHER): [Run(1000, 0.2, 0.02), Run(1000, 0.2, 0.06)],
        ("stream", 1, busy.OURS): [Run(1000, 0.1, 0.02)],
    }
    ours, other, alone = busy.table(found).rows
    assert list(ours) == ["list", "20", busy.OURS, "7,500", "25.0", "1.50 (1.00-2.00)", "0.75 (0.50-1.00)"]
    assert list(other) == ["list", "20", busy.OTHER, "5,000", "40.0", UNKNOWN, UNKNOWN]
    assert list(alone) == ["stream", "1", busy.OURS, "10,000", "20.0", UNKNOWN, UNKNOWN]


@pytest.mark.parametrize("kind", busy.KINDS)
def test_a_run_of_busy_triggers(kind: str) -> None:
    """Every entry of the backlog is handled by one of the triggers."""
    with Server(embedded_binary()) as server:
        run = busy.measure_run(server, OWN_COMMAND, kind, 3, 30)
    assert run.entries == 30
    assert run.seconds > 0
    assert run.cpu_seconds > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_with_surroundings(variant: str) -> None:
    """Every entry is handled, whatever the app has around its function."""
    with Server(embedded_binary()) as server:
        assert surroundings.measure_run(server, variant, 300).entries == 299  # those after the first one


def test_surroundings_beside_the_bare_function() -> None:
    """Ratios compare a variant with the bare function, round by round."""
    found = {"nothing": [Run(1000, 0.1, 0.02), Run(1000, 0.1, 0.04)], "a context": [Run(1000, 0.2, 0.03)] * 2}
    bare, context = surroundings.table(found).rows
    assert list(bare) == ["nothing", "10,000", "30.0", UNKNOWN]
    assert list(context) == ["a context", "5,000", "30.0", "1.12 (0.75-1.50)"]
