"""Decoding of bytes, and escaping of untrusted text for display."""

__all__ = ["decode", "describe_exception", "escape", "printable"]


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
    shown = escape(text[: max_characters + 1])
    return shown if len(shown) <= max_characters else f"{shown[: max_characters - 1]}…"


def describe_exception(error: BaseException) -> str:
    """Return an exception's class and text, or its class alone if it has no text."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001  (a user's __str__ may raise anything, even SystemExit)
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
