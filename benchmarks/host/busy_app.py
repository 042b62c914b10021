"""The app that `benchmarks.host.busy` measures: BUSY_TRIGGERS functions of the kind BUSY_KIND.

Prints how long all BUSY_ENTRIES took, and the CPU time of this process meanwhile, from the first call on. It imports
nothing else of this repository, because another version of Triggerfish may run it.
"""

import json
import os
import sys
import time

from listeners import App

KIND, TRIGGERS, ENTRIES = os.environ["BUSY_KIND"], int(os.environ["BUSY_TRIGGERS"]), int(os.environ["BUSY_ENTRIES"])
BATCH = 16

app = App("busy")


class Progress:
    """Counts calls, and reports when all entries have been handled."""

    def __init__(self) -> None:
        self.handled = 0
        self.began = self.cpu_before = 0.0

    def count(self) -> None:
        """Count a call."""
        if self.handled == 0:
            self.began, self.cpu_before = time.perf_counter(), time.process_time()
        self.handled += 1
        if self.handled == ENTRIES:
            seconds, cpu_seconds = time.perf_counter() - self.began, time.process_time() - self.cpu_before
            report = {"entries": self.handled, "seconds": seconds, "cpu_seconds": cpu_seconds}
            sys.stdout.write(f"{json.dumps(report)}\n")
            sys.stdout.flush()


progress = Progress()

for at in range(TRIGGERS):

    async def handle(_message: str) -> None:
        """Count an entry."""
        progress.count()

    handle.__name__ = f"handle_{at}"
    key = f"busy:{at}"
    (app.list_trigger if KIND == "list" else app.stream_trigger)(keys=key, batch_size=BATCH)(handle)
