"""Counts the entries that a contender has handled and prints the report as one line of JSON."""

import json
import os
import time

__all__ = ["Tally"]


class Tally:
    """Measures wall-clock and CPU time of this process (all threads) from the first handled entry to the last."""

    def __init__(self) -> None:
        self._expected = int(os.environ.get("BENCH_ENTRIES", "0"))
        self._first = 0
        self._count = 0
        self._began = self._began_cpu = 0.0

    def handled(self, number: int = 1) -> None:
        """Count entries that a handler has received."""
        if not self._count:
            self._first = number
            self._began, self._began_cpu = time.perf_counter(), time.process_time()
        missing = self._expected - self._count
        self._count += number
        if 0 < missing <= number:
            self._report()

    def _report(self) -> None:
        cpu_seconds = time.process_time() - self._began_cpu
        seconds = time.perf_counter() - self._began
        entries = self._count - self._first
        print(json.dumps({"entries": entries, "seconds": seconds, "cpu_seconds": cpu_seconds}), flush=True)  # noqa: T201
