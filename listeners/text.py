"""Decoding of bytes, escaping of untrusted text for display, and suggestions for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["closest", "decode", "describe_exception", "did_you_mean", "escape", "printable", "shortened"]


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


def describe_exception(error: BaseException, max_characters: int | None = None) -> str:
    """Return an exception's class and text, cut to `max_characters`, or its class alone if it has no text."""
    try:
        text = str(error)[:max_characters]
    except BaseException:  # noqa: BLE001  (a user's __str__ may raise anything, even SystemExit)
        text = ""
    return f"{type(error).__name__}: {text}"[:max_characters] if text else type(error).__name__[:max_characters]


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a misspelt one, regardless of case; None if none is close."""
    by_folded = {one.lower(): one for one in known}
    matches = get_close_matches(name.lower(), by_folded, n=1)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the closest known name, followed by a space; empty if none is close."""
    match = closest(name, known)
    return f"Did you mean {match}? " if match is not None else ""
