"""Records of calls: each host process writes lines to its own file, which network faults cannot affect."""

import os
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

__all__ = ["Call", "Fate", "Moment", "Recorder", "Records", "fate"]


class Moment(StrEnum):
    """The moment of a call that a line records."""

    STARTED = "S"
    HANDLED = "H"
    FAILED = "F"


class Fate(StrEnum):
    """What the function does with a payload."""

    SUCCEEDS = "succeeds"
    RAISES_ONCE = "raises once"
    ASKS_FOR_RETRY = "asks for a retry"
    IS_REJECTED = "is rejected"


def fate(seed: int, payload: str) -> Fate:
    """Return the fate of a payload: 2 % raise at first, 0.5 % ask for a retry, 0.1 % are rejected."""
    draw = zlib.crc32(f"{seed}:{payload}".encode()) % 1000
    if draw == 0:
        return Fate.IS_REJECTED
    if draw <= 20:
        return Fate.RAISES_ONCE
    return Fate.ASKS_FOR_RETRY if draw <= 25 else Fate.SUCCEEDS


class Call(NamedTuple):
    """One line: `epoch` of the pub/sub lease, else 0; `at_ns` on the clock that all processes of a machine share."""

    moment: Moment
    payload: str
    deliveries: int
    epoch: int
    at_ns: int
    instance: str = ""


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

    by_payload: dict[str, list[Call]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Records":
        """Read every process's file. Raise ValueError for an incomplete line, because the record must be reliable."""
        calls: defaultdict[str, list[Call]] = defaultdict(list)
        for path in sorted(folder.glob("*.calls")):
            for call in _calls(path):
                calls[call.payload].append(call)
        for of_payload in calls.values():
            of_payload.sort(key=lambda call: call.at_ns)
        return cls(dict(calls))

    def of(self, payload: str, moment: Moment) -> list[Call]:
        """Return the lines of one payload that record this moment."""
        return [call for call in self.by_payload.get(payload, ()) if call.moment is moment]

    def starts(self, prefix: str) -> list[Call]:
        """Return the starts of all calls whose payload has this prefix, in chronological order."""
        calls = (call for payload in self.by_payload if payload.startswith(prefix) for call in self.by_payload[payload])
        return sorted((call for call in calls if call.moment is Moment.STARTED), key=lambda call: call.at_ns)


def _calls(path: Path) -> Iterator[Call]:
    text = path.read_text()
    if text and not text.endswith("\n"):
        raise ValueError(f"{path} ends in the middle of a line")
    for line in text.splitlines():
        moment, payload, deliveries, epoch, at_ns = line.split(" ")
        yield Call(Moment(moment), payload, int(deliveries), int(epoch), int(at_ns), path.stem)
