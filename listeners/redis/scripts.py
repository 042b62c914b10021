"""Lua scripts, each atomic on the server. Their files are next to the code that runs them."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["Script", "ScriptCall", "load_script"]


class Script:
    """A Lua script and its digest, by which a server knows it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


@cache
def load_script(package: str, *names: str, uses: tuple[tuple[str, str], ...] = ()) -> Script:
    """Return the script from the files of a package. It is read once, however many functions there are.

    `names` are the files, without `.lua`. If there are several, the first ones define what the last one uses. `uses`
    are files of other packages, as (package, name), that come before them.
    """
    parts = [*uses, *((package, name) for name in names)]
    return Script("".join(files(folder).joinpath(f"{name}.lua").read_text("utf-8") for folder, name in parts))


@dataclass(frozen=True)
class ScriptCall:
    """A call of a script with keys of one slot. A `read_only` call needs Redis 7.0, and no right to write."""

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[Any, ...] = ()
    read_only: bool = False

    @property
    def by_digest(self) -> tuple[Any, ...]:
        """The command for a server that has the script."""
        return "EVALSHA_RO" if self.read_only else "EVALSHA", self.script.digest, *self._parameters

    @property
    def by_source(self) -> tuple[Any, ...]:
        """The command for a server that does not have the script yet."""
        return "EVAL_RO" if self.read_only else "EVAL", self.script.source, *self._parameters

    @property
    def _parameters(self) -> tuple[Any, ...]:
        return len(self.keys), *self.keys, *self.arguments
