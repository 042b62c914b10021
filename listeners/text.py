"""Decoding of bytes, escaping of untrusted text for display, and suggestions for misspelt names."""

import re
import reprlib
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "closest",
    "decode",
    "describe_exception",
    "did_you_mean",
    "escape",
    "may_hold_connection_string",
    "printable",
    "short_repr",
    "shortened",
    "syntax_problem",
]

#: A path has one slash where a URL has two.
_CONNECTION_STRING = re.compile(
    r"""(redis|valkey)s?(\+\w+)?:/|://[^/\s]*@|password["']?\s*[=:]|\S@\S+:\d|:\d+\s*,\s*\w""", re.IGNORECASE
)


class _ShortRepr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 30
        self.maxstring = self.maxother = self.maxlong = 360

    def repr_int(self, number: int, level: int) -> str:
        """Return a number as text. Python refuses to show very large ones."""
        try:
            return super().repr_int(number, level)
        except ValueError:
            return f"(a number of {number.bit_length()} bits)"


_SHORT_REPR = _ShortRepr()


def decode(raw: bytes) -> str:
    """Decode UTF-8; other bytes become surrogate escapes, so that they survive a round trip."""
    return raw.decode("utf-8", "surrogateescape")


def escape(text: str) -> str:
    """Return the text as one line of printable characters.

    Characters that a terminal or browser would interpret (control characters, line breaks, bidirectional marks) are
    escaped, as in \\n or \\u202e.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def printable(text: str, max_characters: int = 120) -> str:
    """Return the text escaped and truncated to `max_characters`."""
    return shortened(escape(text[: max_characters + 1]), max_characters)


def shortened(text: str, max_characters: int) -> str:
    """Return the text, truncated to `max_characters` with an ellipsis if it is longer."""
    return text if len(text) <= max_characters else f"{text[: max_characters - 1]}…"


def short_repr(value: object) -> str:
    """Return the beginning of a value's repr.

    Making it does not take longer the larger the value is: a few nested lists that contain each other are millions of
    values.
    """
    return _SHORT_REPR.repr(value)


def describe_exception(error: BaseException, max_characters: int | None = None) -> str:
    """Return an exception's class and text, cut to `max_characters`, or its class alone if it has no text."""
    try:
        text = str(error)[:max_characters]
    except BaseException:  # noqa: BLE001  (a user's __str__ may raise anything, even SystemExit)
        text = ""
    return f"{type(error).__name__}: {text}"[:max_characters] if text else type(error).__name__[:max_characters]


def may_hold_connection_string(text: str) -> bool:
    """Return whether a text resembles a connection string, which may contain a password, so that it is not shown."""
    return _CONNECTION_STRING.search(text) is not None


def syntax_problem(error: Exception) -> str:
    """Return what is wrong in a YAML or JSON file and where, without any of its content, which may be a password."""
    problem = str(getattr(error, "problem", None) or str(error).partition("\n")[0])
    if re.search("'[^']{4,}'", problem):  # a quoted word of the file, such as an alias or a tag
        problem = f"{problem.partition(chr(39))[0]}..."
    mark = getattr(error, "problem_mark", None)
    return problem if mark is None else f"{problem} (line {mark.line + 1}, column {mark.column + 1})"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a misspelt one, regardless of case; None if none is close."""
    by_folded = {one.lower(): one for one in known}
    matches = get_close_matches(name.lower(), by_folded, n=1)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the closest known name, followed by a space; empty if none is close."""
    match = closest(name, known)
    return f"Did you mean {match}? " if match is not None else ""
