"""The comparison with other libraries: its entrants and its tables. The libraries themselves do not run."""

import importlib.util
import re
from pathlib import Path

import pytest

from benchmarks.host.scenarios import Scenario
from benchmarks.host.throughput import Run
from benchmarks.peers.__main__ import chosen
from benchmarks.peers.entrants import ENTRANTS, OURS, Entrant, counterpart
from benchmarks.peers.environments import REQUIREMENTS
from benchmarks.peers.measuring import Measured, Memory
from benchmarks.peers.results import Results
from benchmarks.peers.tables import aims, footprint, throughput

PEERS = [one for one in ENTRANTS if one.worker]
WORKERS = sorted({one.worker for one in PEERS})
LIST = Scenario.parse("list:at-least-once:entries:10")
POPPED = Scenario.parse("list:at-most-once:entries:1")


def runs(*rates: float) -> list[Measured]:
    return [
        Measured(Run(entries=1000, seconds=1000 / rate, cpu_seconds=500 / rate), start_seconds=0.25) for rate in rates
    ]


@pytest.fixture
def results() -> Results:
    """Results of Triggerfish and of two modes of FastStream; the second round was on a slower machine."""
    fast, slow = (Entrant("FastStream", POPPED, how, "faststream") for how in ("popped", "popped by ten"))
    measured = {Entrant(OURS, LIST, "ours"): runs(20_000, 9_000), fast: runs(2_000, 1_000), slow: runs(500, 500)}
    return Results(["a machine"], measured)


@pytest.mark.parametrize("entrant", PEERS, ids=lambda entrant: entrant.name)
def test_the_counterpart_of_each_peer_is_measured(entrant: Entrant) -> None:
    assert any(one.product == OURS and one.scenario == counterpart(entrant.scenario) for one in ENTRANTS)


@pytest.mark.parametrize("worker", WORKERS)
def test_requirements_are_exact_versions_without_urls(worker: str) -> None:
    lines = (REQUIREMENTS / f"{worker}.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", line)] == []


@pytest.mark.parametrize("worker", WORKERS)
def test_the_program_of_each_peer_exists(worker: str) -> None:
    command = next(one for one in PEERS if one.worker == worker).contender.command
    assert importlib.util.find_spec(command[2]) is not None
    assert Path(command[0]).parts[-4:] == ("peers", worker, "bin", "python")


def test_ratios_compare_runs_of_the_same_round(results: Results) -> None:
    rows = {row[1]: row for row in throughput(results).rows}
    figures = ("9.50 (9.00-10.00)", "9.50 (9.00-10.00)")
    assert rows["ours"][-2:] == ("", "")
    assert rows["popped"] == ("FastStream", "popped", "at most once", "1,500", "375.0", *figures)


def test_an_aim_names_the_fastest_mode_and_compares_with_it(results: Results) -> None:
    assert aims(results).rows == [("list, entry per call, batch 10", "popped", "10", *["9.50 (9.00-10.00)"] * 2)]


def test_an_aim_for_the_same_guarantee_ignores_other_modes(results: Results) -> None:
    popped = Scenario.parse("list:at-most-once:entries:10")
    results.runs[Entrant(OURS, popped, "ours popped")] = runs(30_000, 15_000)
    faster = Entrant("FastStream", LIST, "at least once", "faststream")
    results.runs[faster] = runs(4_000, 4_000)
    assert [row[1:4] for row in aims(results).rows] == [
        ("at least once", "10", "3.62 (2.25-5.00)"),
        ("popped", "10", "15.00 (15.00-15.00)"),
    ]


def test_an_entrant_that_failed_is_in_a_note_and_not_in_a_row(results: Results) -> None:
    slow = list(results.runs)[-1]
    results.drop(slow, "not installed: no such version")
    shown = throughput(results).markdown()
    assert "- Not measured: FastStream, popped by ten: not installed: no such version" in shown
    assert not any("popped by ten" in line for line in shown.splitlines() if line.startswith("|"))


def test_memory_is_shown_with_the_size_of_the_backlog(results: Results) -> None:
    results.memory[next(iter(results.runs))] = Memory(at_rest=50_000_000, peak=70_000_000, backlog=1_000_000)
    assert footprint(results).rows == [(OURS, "ours", "0.25", "50", "70", "1,000,000")]


def test_an_unknown_peer_is_refused_with_the_known_names() -> None:
    with pytest.raises(SystemExit, match=r"invalid --peers 'arq,absent': unknown absent; choose from .*arq.*celery"):
        chosen("arq,absent")


def test_triggerfish_and_the_hand_written_loop_are_always_measured() -> None:
    assert {one.product for one in chosen("arq")} == {"arq", OURS, "loop by hand"}
