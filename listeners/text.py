"""Decoding of bytes, and escaping of untrusted text for display."""

__all__ = ["decode", "printable"]


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
