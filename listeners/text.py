"""Text from bytes, and text of unknown origin made safe to show."""

__all__ = ["decode", "printable"]


def decode(raw: bytes) -> str:
    """Decode UTF-8 so that other bytes survive the round trip (surrogateescape)."""
    return raw.decode("utf-8", "surrogateescape")


def printable(text: str, max_characters: int = 120) -> str:
    """The text in one line of printable characters, shortened to `max_characters`.

    What a terminal or a browser would obey (control characters, line breaks, bidirectional marks) is escaped, as in
    \\n or \\u202e.
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[: max_characters + 1]
    )
    return shown if len(shown) <= max_characters else f"{shown[: max_characters - 1]}…"
