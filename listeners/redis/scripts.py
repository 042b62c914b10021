"""Lua scripts, each atomic on the server. Their files are next to the code that runs them."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files

__all__ = ["Script"]


class Script:
    """A Lua script from the files of a package, and its digest.

    `names` are the files, without `.lua`. If there are several, the first ones define what the last one uses. `uses`
    are files of other packages, as (package, name), that come before them.
    """

    def __init__(self, package: str, *names: str, uses: Sequence[tuple[str, str]] = ()) -> None:
        parts = [*uses, *((package, name) for name in names)]
        self.source = "".join(files(folder).joinpath(f"{name}.lua").read_text("utf-8") for folder, name in parts)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
