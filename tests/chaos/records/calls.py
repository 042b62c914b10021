"""Records of calls: each host process writes lines to its own file, which network faults cannot affect."""

import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

__all__ = ["Call", "Line", "Moment", "Recorder", "Records"]


class Moment(StrEnum):
    """The moment of a call that a line records."""

    STARTED = "S"
    HANDLED = "H"
    FAILED = "F"


class Line(NamedTuple):
    """One line: `epoch` of the pub/sub lease, else 0; `at_ns` on the clock that all processes of a machine share."""

    moment: Moment
    payload: str
    deliveries: int
    epoch: int
    at_ns: int
    instance: str = ""


@dataclass(eq=False)
class Call:
    """One call with one entry. It has no `end` if it was cancelled or its process died."""

    start: Line
    end: Line | None = None

    @property
    def ended_ns(self) -> float:
        """When it ended; infinite if it did not."""
        return math.inf if self.end is None else self.end.at_ns

    @property
    def failed(self) -> bool:
        """Whether the function raised."""
        return self.end is not None and self.end.moment is Moment.FAILED


class Recorder:
    """Appends lines to one process's file. Each line is one write, so a killed process leaves only complete lines."""

    def __init__(self, folder: Path, instance: str) -> None:
        self._file = os.open(folder / f"{instance}.calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, moment: Moment, payload: str, deliveries: int, epoch: int | None) -> None:
        """Record one moment of a call."""
        line = f"{moment} {payload} {deliveries} {epoch or 0} {time.monotonic_ns()}\n"
        os.write(self._file, line.encode())


@dataclass
class Records:
    """All lines of all processes by payload, each payload's in chronological order."""

    by_payload: dict[str, list[Line]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Records":
        """Read every process's file. Raise ValueError for an incomplete line, because the record must be reliable."""
        lines: defaultdict[str, list[Line]] = defaultdict(list)
        for path in sorted(folder.glob("*.calls")):
            for line in _lines(path):
                lines[line.payload].append(line)
        for of_payload in lines.values():
            of_payload.sort(key=lambda line: line.at_ns)
        return cls(dict(lines))

    def of(self, payload: str, moment: Moment) -> list[Line]:
        """Return the lines of one payload that record this moment."""
        return [line for line in self.by_payload.get(payload, ()) if line.moment is moment]

    def starts(self, prefix: str) -> list[Line]:
        """Return the starts of all calls whose payload has this prefix, in chronological order."""
        lines = (line for payload in self.by_payload if payload.startswith(prefix) for line in self.by_payload[payload])
        return sorted((line for line in lines if line.moment is Moment.STARTED), key=lambda line: line.at_ns)

    def calls(self, payload: str) -> list[Call]:
        """Return the calls with one payload in chronological order of their starts."""
        calls: list[Call] = []
        running: dict[str, Call] = {}
        for line in self.by_payload.get(payload, ()):
            if line.moment is Moment.STARTED:
                running[line.instance] = Call(line)
                calls.append(running[line.instance])
            elif call := running.pop(line.instance, None):
                call.end = line
        return calls

    def calls_by_instance(self, *, without: str) -> dict[str, list[Call]]:
        """Return the calls of each process, except those whose payload has the prefix `without`."""
        calls: defaultdict[str, list[Call]] = defaultdict(list)
        for payload in self.by_payload:
            if not payload.startswith(without):
                for call in self.calls(payload):
                    calls[call.start.instance].append(call)
        return dict(calls)


def _lines(path: Path) -> Iterator[Line]:
    text = path.read_text()
    if text and not text.endswith("\n"):
        raise ValueError(f"{path} ends in the middle of a line")
    for line in text.splitlines():
        moment, payload, deliveries, epoch, at_ns = line.split(" ")
        yield Line(Moment(moment), payload, int(deliveries), int(epoch), int(at_ns), path.stem)
