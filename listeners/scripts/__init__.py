"""The Lua scripts that run on the server, each one atomic step."""

from importlib.resources import files

__all__ = ["script"]


def script(name: str) -> str:
    """The text of a script; those that work on lists in flight begin with what they share."""
    text = files(__name__).joinpath(f"{name}.lua").read_text("utf-8")
    return files(__name__).joinpath("list_common.lua").read_text("utf-8") + text if name.startswith("list_") else text
