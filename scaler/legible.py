"""Text of unknown owner, made fit to be shown: names in ScaledObjects may hold anything. Pure."""

__all__ = ["legible"]


def legible(text: str, most: int = 120) -> str:
    """The text in one line of printable characters, at most `most` of them.

    What a terminal or a browser would obey (control characters, line breaks, marks that turn the direction of writing)
    is written out, as in \\n or \\u202e.
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[: most + 1]
    )
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
