"""Lua scripts, each atomic on the server. Their files are next to the code that runs them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

__all__ = ["Script", "ScriptCall"]


class Script:
    """A Lua script from the files of a package, and its digest.

    `names` are the files, without `.lua`. If there are several, the first ones define what the last one uses. `uses`
    are files of other packages, as (package, name), that come before them.
    """

    def __init__(self, package: str, *names: str, uses: Sequence[tuple[str, str]] = ()) -> None:
        parts = [*uses, *((package, name) for name in names)]
        self.source = "".join(files(folder).joinpath(f"{name}.lua").read_text("utf-8") for folder, name in parts)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


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
