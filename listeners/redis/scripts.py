"""Lua scripts, each one atomic step on the server. Each stands beside the code that runs it."""

import hashlib
from importlib.resources import files

__all__ = ["Script"]


class Script:
    """A Lua script of a package, sent whole to a node that does not know it yet.

    `names` are files without `.lua`; with several, the first ones define what the last one uses.
    """

    def __init__(self, package: str, *names: str) -> None:
        folder = files(package)
        self.source = "".join(folder.joinpath(f"{name}.lua").read_text("utf-8") for name in names)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
