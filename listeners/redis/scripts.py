"""The Lua scripts that run on the server, each one atomic step."""

import hashlib
from importlib.resources import files

__all__ = ["Script", "script"]

#: Where the scripts of each family stand: beside the code that runs them.
_ROOMS = {
    "list": "listeners.lists",
    "stream": "listeners.streams",
    "lease": "listeners.leases",
    "dead": "listeners.dead_letters",
}


def script(name: str) -> str:
    """The text of a script; those that work on lists in flight begin with what they share."""
    room = files(_ROOMS[name.partition("_")[0]])
    text = room.joinpath(f"{name}.lua").read_text("utf-8")
    return room.joinpath("list_common.lua").read_text("utf-8") + text if name.startswith("list_") else text


class Script:
    """A Lua script that every node gets when it first needs it."""

    def __init__(self, name: str) -> None:
        self.source = script(name)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
