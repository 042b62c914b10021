"""host.json: the time limit of calls, which functions run, and the default of retries."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from listeners.errors import AppLoadError, ConfigurationError
from listeners.functions.triggers import DEFAULT_CALL_TIMEOUT_SECONDS
from triggerfish.functions_project.json_files import read_object

__all__ = ["FILE", "HostFile", "read_host_file"]

FILE = "host.json"
#: The longest time limit that a trigger may have. It stands for no limit.
LONGEST_SECONDS = 86_400.0
_SPAN = re.compile(r"((?P<days>\d{1,4})\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})(:(?P<seconds>\d{1,2}(\.\d{1,7})?))?")


@dataclass(frozen=True)
class HostFile:
    """What is read of host.json. `functions` None: all run."""

    call_timeout_seconds: float = DEFAULT_CALL_TIMEOUT_SECONDS
    functions: frozenset[str] | None = None
    retry: object = None

    def check_names(self, known: Iterable[str]) -> None:
        """Raise AppLoadError for a function to run that the project does not have."""
        unknown = sorted((self.functions or frozenset()) - set(known))
        if unknown:
            fix = f"The project has no such function. It has {', '.join(known) or 'none'}."
            raise AppLoadError(f"{FILE}.functions", unknown[0], fix)


def read_host_file(root: Path) -> HostFile:
    """Read host.json. Raises ConfigurationError for all mistakes."""
    found = read_object(root / FILE, FILE)
    problems: list[ConfigurationError] = []
    timeout, functions = DEFAULT_CALL_TIMEOUT_SECONDS * 1.0, None
    if found.get("functionTimeout") is not None:
        try:
            timeout = _seconds(found["functionTimeout"])
        except ConfigurationError as error:
            problems.append(error)
    if (names := found.get("functions")) is not None:
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            functions = frozenset(names)
        else:
            problems.append(AppLoadError(f"{FILE}.functions", names, "Give a list of names of functions."))
    if problems:
        raise ConfigurationError.combined(problems)
    return HostFile(timeout, functions, found.get("retry"))


def _seconds(span: object) -> float:
    """Return a functionTimeout in seconds, at most a day, which also stands for -1, no limit."""
    if span in ("-1", -1):
        return LONGEST_SECONDS
    match = _SPAN.fullmatch(span) if isinstance(span, str) else None
    hours = int(match["hours"]) + 24 * int(match["days"] or 0) if match else 0
    seconds = hours * 3600 + int(match["minutes"]) * 60 + float(match["seconds"] or 0) if match else 0.0
    if seconds <= 0:
        fix = 'Give hours, minutes and seconds, such as "00:10:00", or "-1" for no limit.'
        raise AppLoadError(f"{FILE}.functionTimeout", span, fix)
    return min(max(seconds, 0.1), LONGEST_SECONDS)
