"""The harness that runs other libraries' queues: how it judges answers, its libraries and its page.

`tests/queues` runs the libraries themselves.
"""

import json
import re
from pathlib import Path

import pytest

from benchmarks.queues.__main__ import chosen
from benchmarks.queues.document import Row, table, version
from benchmarks.queues.environments import PROGRAMS, command
from benchmarks.queues.libraries import LIBRARIES, SLOTS, Library
from benchmarks.queues.run import Result
from benchmarks.queues.samples import Samples, Truth


def judged(before: Truth, answer: int | None, after: Truth) -> Samples:
    """Return what one answer is judged to be."""
    samples = Samples(SLOTS)
    samples.add(before, answer, after)
    return samples


def test_an_answer_is_too_low_only_if_it_lacks_what_was_unfinished_all_the_time() -> None:
    """Ten were sent before the answer, and three have finished after it: fewer than seven is too low."""
    before, after = Truth(sent=10, finished=2), Truth(sent=12, finished=3)
    assert (judged(before, 7, after).below, judged(before, 7, after).worst) == (0, 0)
    assert (judged(before, 5, after).below, judged(before, 5, after).worst) == (1, 2)


def test_an_answer_is_too_high_above_what_was_sent_and_may_run() -> None:
    """Twelve were sent, two had finished, one may be sent but not recorded, and eight may end but not be known to."""
    before, after = Truth(sent=10, finished=2), Truth(sent=12, finished=3)
    assert judged(before, 19, after).above == 0
    assert judged(before, 20, after).above == 1


def test_zeros_are_counted_while_jobs_are_unfinished() -> None:
    """Before the first job and after the last, 0 is right."""
    assert judged(Truth(5, 1, keda=0), 0, Truth(5, 2)) == Samples(SLOTS, 1, below=1, worst=3, zeros=1, keda_zeros=1)
    assert judged(Truth(5, 1, keda=3), 4, Truth(5, 2)) == Samples(SLOTS, 1)
    assert judged(Truth(5, 4), 0, Truth(5, 5)) == Samples(SLOTS)


def test_an_error_is_not_an_answer() -> None:
    """What the scaler does not know is neither right nor wrong."""
    assert judged(Truth(5, 1), None, Truth(5, 2)) == Samples(SLOTS, unknown=1)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_the_program_and_the_version_of_each_library_exist(library: Library) -> None:
    """A program in Python is a module, others are in folders. Packages of Debian may be missing."""
    assert re.fullmatch(r"\d+(\.\d+)+", version(library)) or library.program in {"laravel", "sidekiq"}
    module = PROGRAMS / f"{library.program}_program.py"
    assert module.exists() or (PROGRAMS / library.program).is_dir()
    assert Path(command(library.program)[0]).name in {"python", "node", "php", "program", "ruby"}


def test_versions_of_node_packages_are_exact() -> None:
    """Every run installs the same."""
    packages = json.loads((PROGRAMS / "bullmq" / "package.json").read_text())["dependencies"]
    assert [pin for pin in packages.values() if not re.fullmatch(r"(npm:bullmq@)?\d+\.\d+\.\d+", pin)] == []


def test_libraries_are_chosen_by_their_programs() -> None:
    """All modes of a program are measured, and an unknown one is refused with the known ones."""
    assert {one.name for one in chosen("RQ")} == {"RQ, one queue", "RQ, two queues"}
    assert chosen("") == LIBRARIES
    with pytest.raises(SystemExit, match=r"invalid --libraries 'rq huey': unknown huey; choose from arq, .*bullmq"):
        chosen("rq huey")


def test_the_table_has_a_row_for_each_run_and_a_note_for_each_failure() -> None:
    """A library that failed has no row."""
    celery = chosen("celery")[0]
    samples = Samples(SLOTS, answers=1000, below=3, worst=1, keda_zeros=450)
    shown = table([Row(celery, "redis-7.2", Result(samples, 0, 1.04, 7.0))], {"asynq": "not installed: no Go"})
    assert f"| {celery.name} | 5.7.0 | redis-7.2 | 1,000 | 3 | 1 | 0 | 45% |" in shown.markdown()
    assert "- Not measured: asynq: not installed: no Go" in shown.markdown()
