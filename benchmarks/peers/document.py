"""Writes the page and the picture where documentation is."""

from pathlib import Path

from benchmarks.peers.plot import draw
from benchmarks.peers.results import Results
from benchmarks.peers.tables import tables

__all__ = ["write"]

HEAD = """# Beside the libraries that one would pick instead

Written by `make bench-peers`, which installs each peer into an environment of its own and repeats all of this; see
`python -m benchmarks.peers --help` for fewer rounds, entries or peers. `make bench` has the time from a message to its
function's call.

{about}

All read the same payloads, put there beforehand by each peer's own client, on one server, with a handler that only
counts; one process each. They take turns within each round, and ratios are those of runs of the same round. Logs and
stored results are off; uvloop and hiredis are there for the peers that can use them.

How each is set up:

- At least once means here that an entry whose process dies is handled by another one. FastStream's groups keep such an
  entry pending until a second subscriber claims it (`min_idle_time`), which is not measured. RQ and saq run it again if
  it was enqueued with retries, as here; Celery with `acks_late`, after the visibility timeout.
- Ours keeps at most 10,000 messages of a channel waiting, and drops and counts more: no run of pub/sub is longer.
- FastStream's lists are popped, and its streams without a group only read: both at most once.
- arq looks at its queue every 10 ms instead of every half second, as by default it runs some 200 jobs a second.
- Celery has its pool `solo`, RQ its `SimpleWorker`: both run jobs in the worker's own process, which is their fastest.
  dramatiq has its default of 8 threads.

![Entries per second](peers.svg)
"""


def write(results: Results, folder: Path) -> None:
    """Write peers.md and peers.svg into a folder, which need not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(results, folder / "peers.svg")
    about = "\n".join(f"- {line}" for line in results.about)
    (folder / "peers.md").write_text("\n".join([HEAD.format(about=about), *(t.markdown() for t in tables(results))]))
