"""The table, and the page in docs/benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.queues.libraries import Library
from benchmarks.queues.run import Result
from benchmarks.tables import UNKNOWN, Table, bullets

__all__ = ["Row", "table", "write"]

COLUMNS = ("library", "server", "answers", "below", "worst", "0", "KEDA: 0", "above", "unknown", "repeated", "s to 0")

HEAD = """# Queues of other libraries

Written by `make queues`, which installs each library into an environment of its own, and runs a producer and a worker
on real servers. See `python -m benchmarks.queues --help` for fewer jobs, libraries or servers.

{about}
"""


@dataclass(frozen=True)
class Row:
    """The result of a library on a server."""

    library: Library
    server: str
    result: Result


def table(rows: Sequence[Row], failures: Mapping[str, str]) -> Table:
    """Return the table, with the reason of each failure."""
    notes = [f"Not measured: {name}: {reason}" for name, reason in failures.items()]
    return Table("Answers and truth", bullets(notes), COLUMNS, [_cells(row) for row in rows], texts=2)


def write(folder: Path, about: Sequence[str], shown: Table) -> None:
    """Write queues.md into a folder, which is created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "queues.md").write_text("\n".join([HEAD.format(about=bullets(about)), shown.markdown()]))


def _cells(row: Row) -> list[str]:
    samples = row.result.samples
    keda = f"{samples.keda_zeros / samples.answers:.0%}" if row.library.keda else UNKNOWN
    numbers = (samples.above, samples.unknown, row.result.repeated)
    return [
        row.library.name,
        row.server,
        f"{samples.answers:,}",
        str(samples.below),
        f"-{samples.worst}" if samples.worst else "0",
        str(samples.zeros),
        keda,
        *map(str, numbers),
        f"{row.result.seconds_to_zero:.1f}",
    ]
