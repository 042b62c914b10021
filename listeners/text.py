"""Decoding of bytes, and escaping of untrusted text for display."""

__all__ = ["decode", "printable"]


def decode(raw: bytes) -> str:
    """Decode UTF-8; other bytes become surrogate escapes, so that they survive a round trip."""
    return raw.decode("utf-8", "surrogateescape")


def printable(text: str, max_characters: int = 120) -> str:
    """Return the text as one line of printable characters, truncated to `max_characters`.

    Characters that a terminal or browser would interpret (control characters, line breaks, bidirectional marks) are
    escaped, as in \\n or \\u202e.
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[: max_characters + 1]
    )
    return shown if len(shown) <= max_characters else f"{shown[: max_characters - 1]}…"
