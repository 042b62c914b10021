"""Text: moved out of another file; say what belongs here."""

__all__ = ["decode"]


def decode(raw: bytes) -> str:
    """Decode bytes so that what is not UTF-8 survives the way there and back (surrogateescape)."""
    return raw.decode("utf-8", "surrogateescape")
