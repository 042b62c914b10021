"""The status page's template, style and script, which the page holds inline: it loads nothing."""

from importlib.resources import files

__all__ = ["page_part"]


def page_part(name: str) -> str:
    """The text of a file in this folder."""
    return files(__name__).joinpath(name).read_text("utf-8")
