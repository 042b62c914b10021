"""The tables, and the page in docs/benchmarks."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.environments import REQUIREMENTS
from benchmarks.queues.environments import PROGRAMS
from benchmarks.queues.libraries import Library
from benchmarks.queues.run import Result
from benchmarks.tables import UNKNOWN, Table, bullets

__all__ = ["Row", "table", "version", "write"]

COLUMNS = (
    "library",
    "version",
    "server",
    "answers",
    "too low",
    "by at most",
    "0",
    "KEDA: 0",
    "too high",
    "unknown",
    "repeated",
    "commands",
    "seconds to 0",
)

HEAD = """# Queues of other libraries

Written by `make queues`, which installs each library into an environment of its own, runs a producer and a worker on
real servers, and asks a scaler for the number of jobs all the time. See `python -m benchmarks.queues --help` for fewer
jobs, libraries or servers.

{about}

Half of the jobs are sent at once. The others follow one after another once the first half has finished. Each job
records when it starts and when it ends, in keys that the library does not know. This is the truth.

- **answers**: the scaler's answers while at least one job was unfinished. Each was measured after its question, unless
  Redis had reported no change of the keys since the last answer.
- **too low**: answers below the number of jobs that were unfinished from the question to the answer; **by at most**:
  how many jobs such an answer lacked. For a library that takes a job in one step and records that in another, it may
  lack those between the two. Celery with early acknowledgement records nothing of a running job; the scaler knows
  those from the workers' heartbeats, which come every 2 seconds. Sidekiq's come every 5 to 10 seconds. A worker of SAQ
  that starts aborts the jobs that are not recorded as active yet. This may be one that it has just taken, and then
  runs although no key contains it.
- **0**: answers that would let KEDA scale to zero while jobs were unfinished.
- **KEDA: 0**: how often the length of the list of waiting jobs was 0 at these moments. KEDA's `redis` scaler reads it
  in the usual recipe, and would scale running jobs away. Streams have another scaler.
- **too high**: answers above the number of jobs sent and not finished, and nine more.
- **unknown**: errors instead of answers, which KEDA ignores.
- **repeated**: jobs that the library ran once more than needed.
- **commands**: what one answer costs Redis after a change of all keys. Without a change it costs none.
- **seconds to 0**: from the last job's end to the first answer of 0.
"""


@dataclass(frozen=True)
class Row:
    """The result of a library on a server."""

    measured: Library
    server: str
    result: Result


def version(library: Library) -> str:
    """Return the version of a library that its environment contains."""
    if library.program == "bullmq":
        packages = json.loads((PROGRAMS / "bullmq" / "package.json").read_text())["dependencies"]
        return str(packages[library.package]).rpartition("@")[2]
    if library.program in {"laravel", "sidekiq"}:
        return _debian_version(library.package)
    pins, pattern = REQUIREMENTS / f"{library.program}.txt", rf"^{library.package}==(.*)$"
    if library.program == "asynq":
        pins, pattern = PROGRAMS / "asynq" / "go.mod", r"hibiken/asynq v(.*)$"
    found = re.search(pattern, pins.read_text(), re.MULTILINE)
    return found[1] if found else UNKNOWN


def table(rows: Sequence[Row], failures: Mapping[str, str]) -> Table:
    """Return the table, with the reason of each failure."""
    notes = [f"Not measured: {name}: {reason}" for name, reason in failures.items()]
    return Table("Answers and truth", bullets(notes), COLUMNS, [_cells(row) for row in rows], texts=3)


def write(folder: Path, about: Sequence[str], shown: Table) -> None:
    """Write queues.md into a folder, which is created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "queues.md").write_text("\n".join([HEAD.format(about=bullets(about)), shown.markdown()]))


def _debian_version(package: str) -> str:
    try:
        command = ("dpkg-query", "--show", "--showformat=${Version}", package)
        known = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  (our own command)
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return known.stdout.partition("+")[0]


def _cells(row: Row) -> list[str]:
    samples = row.result.samples
    share = f"{samples.keda_zeros / samples.answers:.0%}" if row.measured.keda and samples.answers else UNKNOWN
    return [
        row.measured.name,
        version(row.measured),
        row.server,
        f"{samples.answers:,}",
        str(samples.below),
        str(samples.worst),
        str(samples.zeros),
        share,
        str(samples.above),
        str(samples.unknown),
        str(row.result.repeated),
        f"{row.result.commands:.1f}",
        f"{row.result.seconds_to_zero:.1f}",
    ]
