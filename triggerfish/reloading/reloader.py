"""Loads an app at the start and after each change of its files."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from listeners.errors import ConfigurationError
from listeners.functions.app import App
from listeners.runtime.logs import steady_logger
from scaler.local.child_output import ChildOutput
from scaler.settings import Settings
from triggerfish.apps import add_connections, source_files
from triggerfish.reloading.files import ChangedFiles
from triggerfish.reloading.loaded import load_in_process

__all__ = ["Reloader", "Source", "Use"]

log = steady_logger("triggerfish.reload")

#: Called with each app that can be loaded and the current settings. Raises ConfigurationError if it cannot be used.
Use = Callable[[App, Settings], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Source:
    """What an app is made from: its reference and its settings, and the files that the settings come from.

    `load_settings` may also change the environment, which is that of the app's processes.
    """

    reference: str
    load_settings: Callable[[], Settings]
    files: Sequence[Path] = ()


class Reloader:
    """Loads an app in a process at the start and after each change, and passes each one that loads to `use`."""

    def __init__(self, source: Source, output: ChildOutput | None) -> None:
        self._source = source
        self._output = output
        folder, files = source_files(source.reference)
        self._files = ChangedFiles(folder, [*source.files, *files])
        self._was_used = False

    async def run(self, use: Use, work: Coroutine[Any, Any, Result]) -> Result:
        """Reload until the work ends, and return its result. Raises ConfigurationError if files cannot be watched."""
        working = asyncio.ensure_future(work)
        reloading = [asyncio.ensure_future(self._files.watch()), asyncio.ensure_future(self._reload(use))]
        try:
            await asyncio.wait([working, *reloading], return_when=asyncio.FIRST_COMPLETED)
            for task in reloading:
                if task.done():
                    await task
            return await working
        finally:
            for started in (working, *reloading):
                started.cancel()
            await asyncio.gather(working, *reloading, return_exceptions=True)

    async def _reload(self, use: Use) -> None:
        changing = asyncio.ensure_future(self._files.changed())
        try:
            while True:
                loading = asyncio.create_task(self._load())
                try:
                    await asyncio.wait([loading, changing], return_when=asyncio.FIRST_COMPLETED)
                    if not changing.done():
                        self._use(await loading, use)
                        await asyncio.wait([changing])
                finally:
                    loading.cancel()
                    await asyncio.wait([loading])
                log.info("%s changed: loading the app", ", ".join(changing.result()))
                changing = asyncio.ensure_future(self._files.changed())
        finally:
            changing.cancel()

    async def _load(self) -> tuple[App, Settings] | None:
        """Return the app and the settings as they are now. None if they cannot be loaded, which has been logged."""
        try:
            settings = self._source.load_settings()
            self._files.add(source_files(self._source.reference)[1])
        except ConfigurationError as error:
            log.error("%s", error)  # noqa: TRY400  (it names the field, the value and the fix)
            return None
        loaded = await load_in_process(self._source.reference, os.environ, self._output)
        self._files.add(loaded.files)
        return (loaded.app, settings) if loaded.app is not None else None

    def _use(self, loaded: tuple[App, Settings] | None, use: Use) -> None:
        try:
            if loaded is not None:
                add_connections(self._source.reference, *loaded)
                use(*loaded)
                self._was_used = True
                return
        except ConfigurationError as error:
            log.error("%s", error)  # noqa: TRY400  (it names the field, the value and the fix)
        log.warning("%s until a file changes", "the app that runs goes on" if self._was_used else "waiting")
