"""Sets the variables of a `.env` file in the environment, unless the environment has them."""

import io
import os
from pathlib import Path

from listeners.errors import ConfigurationError
from listeners.runtime.files import read_file

__all__ = ["DEFAULT_FILE", "apply_env_file", "origin", "variables_set"]

#: Read if it is in the current folder, and no file is named.
DEFAULT_FILE = Path(".env")
OPTION = "--env-file"
#: More than settings and secrets need, and less than an environment may have.
MAX_BYTES = 64 * 1024
#: python-dotenv takes a second for 10,000.
MAX_VARIABLES = 1_000

#: The variables in the environment that come from a file, and their places.
_origins: dict[str, str] = {}


def apply_env_file(file: Path | None) -> None:
    """Set the variables of a file, or of DEFAULT_FILE if that exists, in place of those that were set before.

    A variable that the environment has already stays as it is. Raises ConfigurationError with the line, but never with
    any of its text, which may be a secret, and changes nothing then.
    """
    if file is None and not DEFAULT_FILE.exists():
        _set("", {})
        return
    file = file or DEFAULT_FILE
    text = _text(file)
    places = {name: f"{file}, line {line}" for name, line in _lines(file, text).items()}
    _set(text, places)


def origin(variable: str) -> str:
    """Return the file and the line that a variable of the environment comes from; empty if it comes from no file."""
    return _origins.get(variable, "")


def variables_set() -> int:
    """Return how many variables come from a file."""
    return len(_origins)


def _set(text: str, places: dict[str, str]) -> None:
    from dotenv import load_dotenv  # noqa: PLC0415  (most commands find no file)

    for name in _origins:
        os.environ.pop(name, None)
    _origins.clear()
    before = set(os.environ)
    if text:
        load_dotenv(stream=io.StringIO(text))
    _origins.update({name: place for name, place in places.items() if name in os.environ and name not in before})


def _text(file: Path) -> str:
    content = read_file(file, OPTION)
    if len(content) > MAX_BYTES:
        raise ConfigurationError(OPTION, str(file), f"It is larger than {MAX_BYTES // 1024} KiB. Check the path.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _problem(file, line, "is not UTF-8. Save the file as UTF-8") from None


def _lines(file: Path, text: str) -> dict[str, int]:
    """Return the line of each variable. Raises ConfigurationError for what python-dotenv would pass over."""
    from dotenv.parser import parse_stream  # noqa: PLC0415  (most commands find no file)

    lines: dict[str, int] = {}
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string
        blank = original[: len(original) - len(original.lstrip())]
        line = binding.original.line + blank.replace("\r\n", "\n").replace("\r", "\n").count("\n")
        if binding.error:
            raise _problem(file, line, "does not parse. Write NAME=value, and close every quote")
        if binding.key is None:
            continue
        if binding.value is None:
            raise _problem(file, line, "has no value. Write NAME=value")
        if "\0" in binding.key + binding.value:
            raise _problem(file, line, "contains a null character. Remove it")
        if binding.key in lines:
            raise _problem(file, line, f"sets the same variable as line {lines[binding.key]}. Remove one of them")
        lines[binding.key] = line
        if len(lines) > MAX_VARIABLES:
            raise _problem(file, line, f"is beyond {MAX_VARIABLES:,} variables. Check the path")
    return lines


def _problem(file: Path, line: int, fix: str) -> ConfigurationError:
    return ConfigurationError(OPTION, str(file), f"Line {line} {fix}.")
