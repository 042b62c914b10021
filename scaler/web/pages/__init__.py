"""The template, style and script of the status page. The page has them inline, so it loads nothing."""

from importlib.resources import files

__all__ = ["page_part"]


def page_part(name: str) -> str:
    """Return the text of a file in this folder."""
    return files(__name__).joinpath(name).read_text("utf-8")
