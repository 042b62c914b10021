"""Lua scripts, each atomic on the server. Their files are next to the code that runs them."""

import hashlib
from importlib.resources import files

__all__ = ["Script"]


class Script:
    """A Lua script from the files of a package, and its digest.

    `names` are the files, without `.lua`. If there are several, the first ones define what the last one uses.
    """

    def __init__(self, package: str, *names: str) -> None:
        folder = files(package)
        self.source = "".join(folder.joinpath(f"{name}.lua").read_text("utf-8") for name in names)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
