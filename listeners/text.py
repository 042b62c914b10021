"""Decoding of bytes, escaping of untrusted text for display, and suggestions for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["closest", "decode", "did_you_mean", "printable"]


def decode(raw: bytes) -> str:
    """Decode UTF-8; other bytes become surrogate escapes, so that they survive a round trip."""
    return raw.decode("utf-8", "surrogateescape")


def printable(text: str, max_characters: int | None = 120) -> str:
    """Return the text as one line of printable characters, truncated to `max_characters` unless that is None.

    Characters that a terminal or browser would interpret (control characters, line breaks, bidirectional marks) are
    escaped, as in \\n or \\u202e.
    """
    kept = text if max_characters is None else text[: max_characters + 1]
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in kept
    )
    if max_characters is None or len(shown) <= max_characters:
        return shown
    return f"{shown[: max_characters - 1]}…"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a misspelt one, regardless of case; None if none is close."""
    by_folded = {one.lower(): one for one in known}
    matches = get_close_matches(name.lower(), by_folded, n=1)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the closest known name, followed by a space; empty if none is close."""
    match = closest(name, known)
    return f"Did you mean {match}? " if match is not None else ""
