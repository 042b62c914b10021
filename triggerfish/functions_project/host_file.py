"""host.json: the time limit of calls, which functions run, and the default of retries.

App settings named `AzureFunctionsJobHost__...` override it, as in Azure.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from listeners.errors import AppLoadError, ConfigurationError
from listeners.functions.triggers import DEFAULT_CALL_TIMEOUT_SECONDS
from triggerfish.functions_project.app_settings import AppSettings
from triggerfish.functions_project.definitions import log
from triggerfish.functions_project.json_files import read_object

__all__ = ["FILE", "HostFile", "deliveries_of", "read_host_file"]

FILE = "host.json"
VERSION = "2.0"
#: What the names of the app settings begin with that override the file.
OVERRIDE = "AzureFunctionsJobHost"
#: The longest time limit that a trigger may have. It stands for no limit.
LONGEST_SECONDS = 86_400.0
#: As many deliveries as a trigger accepts, for a retry without an end.
ENDLESS = 1_000_000
_SPAN = re.compile(r"((?P<days>\d{1,4})\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})(:(?P<seconds>\d{1,2}(\.\d{1,7})?))?")


@dataclass(frozen=True)
class HostFile:
    """What is read of host.json. `functions` None: all run. `max_deliveries` None: there is no retry policy."""

    call_timeout_seconds: float = DEFAULT_CALL_TIMEOUT_SECONDS
    functions: frozenset[str] | None = None
    max_deliveries: int | None = None

    def check_names(self, known: Iterable[str]) -> None:
        """Raise AppLoadError for a function to run that the project does not have."""
        unknown = sorted((self.functions or frozenset()) - set(known))
        if unknown:
            fix = f"The project has no such function. It has {', '.join(known) or 'none'}."
            raise AppLoadError(f"{FILE}.functions", unknown[0], fix)


def read_host_file(root: Path, settings: AppSettings) -> HostFile:
    """Read host.json, and the app settings that override it. Raises ConfigurationError for all mistakes."""
    found = read_object(root / FILE, FILE)
    fields = {name: f"{FILE}.{name}" for name in ("functionTimeout", "functions", "retry")}
    problems: list[ConfigurationError] = []
    if found.get("version", VERSION) != VERSION:
        fix = f'Only projects of this version run. Write "version": "{VERSION}".'
        problems.append(AppLoadError(f"{FILE}.version", found["version"], fix))
    _override(found, fields, settings)
    timeout, functions = DEFAULT_CALL_TIMEOUT_SECONDS * 1.0, None
    if found.get("functionTimeout") is not None:
        try:
            timeout = _seconds(fields["functionTimeout"], found["functionTimeout"])
        except ConfigurationError as error:
            problems.append(error)
    if (names := found.get("functions")) is not None:
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            functions = frozenset(names)
        else:
            problems.append(AppLoadError(fields["functions"], names, "Give a list of names of functions."))
    deliveries = None
    if found.get("retry") is not None:
        try:
            deliveries = deliveries_of(fields["retry"], found["retry"])
        except ConfigurationError as error:
            problems.append(error)
    if problems:
        raise ConfigurationError.combined(problems)
    return HostFile(timeout, functions, deliveries)


def _override(found: dict[str, Any], fields: dict[str, str], settings: AppSettings) -> None:
    """Put the app settings into what the file has, and their names into `fields`. Others are named in the log."""
    given = found.get("functions")
    functions = dict(enumerate(given)) if isinstance(given, list) else {}
    unused: list[str] = []
    for option, value in settings.below(OVERRIDE).items():
        name = settings.spelling(f"{OVERRIDE}:{option}")
        match option.split(":"):
            case ["functiontimeout"]:
                found["functionTimeout"], fields["functionTimeout"] = value, name
            case ["functions", number] if re.fullmatch("[0-9]{1,4}", number):
                functions[int(number)] = value  # in place of the file's with this number, as in .NET
                found["functions"] = [functions[key] for key in sorted(functions)]
            case ["retry", "maxretrycount"]:
                found["retry"], fields["retry"] = {"maxRetryCount": value}, name
            case _:
                unused.append(name)
    if unused:
        log.warning("these app settings have no effect here: %s", ", ".join(sorted(unused)))


def deliveries_of(field: str, retry: object) -> int:
    """Return how often an entry is delivered by a retry policy. Raises AppLoadError."""
    options = {str(key).replace("_", "").lower(): retry[key] for key in retry} if isinstance(retry, Mapping) else {}
    count = str(options.get("maxretrycount", ""))
    if count == "-1":
        return ENDLESS
    if not re.fullmatch("[0-9]{1,9}", count) or int(count) >= ENDLESS:
        fix = "Give maxRetryCount, the number of calls after the first: a whole number, or -1 for no end."
        raise AppLoadError(field, None, fix)
    return int(count) + 1


def _seconds(field: str, span: object) -> float:
    """Return a functionTimeout in seconds, at most a day, which also stands for -1, no limit."""
    if span in ("-1", -1):
        return LONGEST_SECONDS
    match = _SPAN.fullmatch(span) if isinstance(span, str) else None
    hours = int(match["hours"]) + 24 * int(match["days"] or 0) if match else 0
    seconds = hours * 3600 + int(match["minutes"]) * 60 + float(match["seconds"] or 0) if match else 0.0
    if seconds <= 0:
        fix = 'Give hours, minutes and seconds, such as "00:10:00", or "-1" for no limit.'
        raise AppLoadError(field, span, fix)
    return min(max(seconds, 0.1), LONGEST_SECONDS)
