"""Writes the page and the plot to docs/benchmarks."""

from pathlib import Path

from benchmarks.peers.plot import draw
from benchmarks.peers.results import Results
from benchmarks.peers.tables import tables

__all__ = ["write"]

HEAD = """# Comparison with other libraries

Written by `make bench-peers`, which installs each peer into its own virtual environment and repeats all measurements.
See `python -m benchmarks.peers --help` for fewer rounds, entries or peers. `make bench` measures the time from a
message to its function's call.

{about}

Every product reads the same payloads on one server, as one process, with a handler that only counts. Each peer's own
client adds the entries before the run. Products take turns within each round, and ratios compare runs of the same
round. Logging and result storage are off. uvloop and hiredis are installed for the peers that can use them.

How each is set up:

- At least once means here that an entry whose process dies is handled by another process. FastStream's groups keep such
  an entry pending until a second subscriber claims it (`min_idle_time`), which is not measured. RQ and saq run it again
  if it was enqueued with retries, as here; Celery runs it again with `acks_late`, after the visibility timeout.
- Triggerfish queues at most 10,000 messages per channel, and drops and counts the rest. No pub/sub run is longer.
- FastStream pops lists, and only reads streams that have no group. Both are at most once.
- arq polls its queue every 10 ms instead of its default of 500 ms, with which it runs about 200 jobs per second.
- Celery uses the pool `solo` and RQ the `SimpleWorker`. Both run jobs in the worker process, which is their fastest
  mode. dramatiq uses its default of 8 threads.

![Entries per second](peers.svg)
"""


def write(results: Results, folder: Path) -> None:
    """Write peers.md and peers.svg into a folder, which is created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(results, folder / "peers.svg")
    about = "\n".join(f"- {line}" for line in results.about)
    (folder / "peers.md").write_text("\n".join([HEAD.format(about=about), *(t.markdown() for t in tables(results))]))
