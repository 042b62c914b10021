"""Notices changes of an app's files."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from listeners.errors import ConfigurationError

__all__ = ["ChangedFiles"]

#: Changes within this time of one another are one change: an editor may write a file twice, and git many files.
QUIET_MS = 100
#: No folder of this name holds code of the app, and a name that begins with a dot does not either.
FOREIGN_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})


class ChangedFiles:
    """Collects the Python files that change in a folder and below it, and some other files.

    `folder` is where the app is imported from. `others` are files of any kind, which need not exist, and Python files
    elsewhere; more of them may be added.
    """

    def __init__(self, folder: Path, others: Iterable[Path]) -> None:
        self._folder = folder
        self._others: set[Path] = set()
        self._changed: set[str] = set()
        self._is_changed = asyncio.Event()
        self._others_grown = asyncio.Event()
        self.add(others)

    def add(self, files: Iterable[Path]) -> None:
        """Watch more files, if they are not watched yet."""
        more = {file for file in map(_absolute, files) if not self._is_code(file)} - self._others
        if more:
            self._others |= more
            self._others_grown.set()

    async def changed(self) -> list[str]:
        """Wait for changes. Return the names of the files that have changed since the last call."""
        await self._is_changed.wait()
        self._is_changed.clear()
        names = sorted(self._changed)
        self._changed.clear()
        return names

    async def watch(self) -> None:
        """Watch until cancelled. Raises ConfigurationError if a folder cannot be watched."""
        watching = [asyncio.create_task(self._watch_code()), asyncio.create_task(self._watch_others())]
        try:
            await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
            for task in watching:
                if task.done():
                    task.result()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _watch_code(self) -> None:
        # All that is below these would be watched, with everything that is installed.
        everything = self._folder in (Path(self._folder.anchor), Path.home())
        await self._watch([self._folder], self._has_code, asyncio.Event(), recursive=not everything)

    async def _watch_others(self) -> None:
        while True:
            self._others_grown.clear()
            folders = {file.parent for file in self._others} | {file.resolve().parent for file in self._others}
            existing = [folder for folder in folders if folder.is_dir()]
            if existing:
                await self._watch(existing, self._is_other, self._others_grown, recursive=False)
            else:
                await self._others_grown.wait()

    async def _watch(
        self, folders: list[Path], is_watched: Callable[[Path], bool], stop: asyncio.Event, *, recursive: bool
    ) -> None:
        from watchfiles import awatch  # noqa: PLC0415  (an extra)

        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs each change
        try:
            async for changes in awatch(
                *folders,
                watch_filter=lambda _, path: is_watched(Path(path)),
                step=QUIET_MS,
                recursive=recursive,
                ignore_permission_denied=True,
                stop_event=stop,
            ):
                self._changed |= {Path(path).name for _, path in changes}
                self._is_changed.set()
        except (OSError, RuntimeError) as error:  # too many files, or a file system without notifications
            shown = ", ".join(map(str, folders))
            fix = (
                f"It cannot be watched: {error}. WATCHFILES_FORCE_POLLING=true looks for changes every 300 ms instead."
            )
            raise ConfigurationError("--reload", shown, fix) from None

    def _is_other(self, file: Path) -> bool:
        return file in self._others or file.resolve() in self._others

    def _has_code(self, path: Path) -> bool:
        """Return whether it is a Python file in the app's folder, or a folder with some.

        Of files that are made together with their folder, only the folder may be reported.
        """
        return self._is_code(path) or (self._is_code(path / "any.py") and next(path.rglob("*.py"), None) is not None)

    def _is_code(self, file: Path) -> bool:
        """Return whether it is a Python file in the app's folder."""
        if file.suffix != ".py" or not file.is_relative_to(self._folder):
            return False
        *folders, name = file.relative_to(self._folder).parts
        return not name.startswith(".") and not any(one.startswith(".") or one in FOREIGN_FOLDERS for one in folders)


def _absolute(file: Path) -> Path:
    """Return the path without `..`, but with its links, which may be redirected."""
    return file.parent.resolve() / file.name
