"""Imports an app in a process that ends, to find out whether it can be imported and which triggers it has."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from listeners.functions.app import App
from listeners.functions.declarations import parse_declaration
from listeners.functions.entries import RedisMessage
from listeners.runtime.child_processes import die_with_parent
from listeners.runtime.logs import steady_logger
from scaler.local.child_output import ChildOutput
from scaler.local.processes import python_command
from triggerfish.reloading.loading import Report

__all__ = ["Loaded", "load_in_process"]

log = steady_logger("triggerfish.reload")

#: How often an import that has not ended is reported.
STILL_LOADING_SECONDS = 10.0
NAME = "loading"


@dataclass(frozen=True)
class Loaded:
    """The app, if it could be imported, and the files that were imported. Its functions cannot be called here."""

    app: App | None
    files: frozenset[Path] = frozenset()


async def load_in_process(reference: str, environment: Mapping[str, str], output: ChildOutput | None) -> Loaded:
    """Import an app in a process. What is wrong is in that process's log.

    `output` writes what it writes; without it, it writes to the streams of this process. The process is killed if this
    is cancelled.
    """
    pipe = asyncio.subprocess.PIPE if output is not None else None
    # A file, because a pipe has a size.
    with tempfile.TemporaryFile() as report:
        process = await asyncio.create_subprocess_exec(
            *python_command("triggerfish.reloading.loading", reloaded=True),
            reference,
            str(report.fileno()),
            stdout=pipe,
            stderr=pipe,
            env=environment,
            pass_fds=[report.fileno()],
            preexec_fn=die_with_parent(signal.SIGKILL),
            start_new_session=True,  # Ctrl-C must reach only this process
        )
        if output is not None:
            output.follow(NAME, process)
        try:
            status = await _ended(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what the app has started
            await process.wait()
        report.seek(0)
        content = report.read()
    try:
        return _loaded(Report.model_validate_json(content))
    except ValidationError:
        log.error("importing the app has ended the process with status %d", status)  # noqa: TRY400  (it says no more)
        return Loaded(None)


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Wait for the end of an import, and report from time to time that it goes on."""
    ending = asyncio.ensure_future(process.wait())
    seconds = 0.0
    try:
        while not ending.done():
            await asyncio.wait([ending], timeout=STILL_LOADING_SECONDS)
            seconds += STILL_LOADING_SECONDS
            if not ending.done():
                log.warning("importing the app has taken %.0f s so far", seconds)
        return ending.result()
    finally:
        ending.cancel()


def _loaded(report: Report) -> Loaded:
    files = frozenset(map(Path, report.files))
    if report.app is None:
        return Loaded(None, files)
    app = App(report.app)
    for name, declared in report.functions.items():
        parameters = dict(declared.parameters)
        if declared.connection_string is not None:
            parameters["connection_string"] = declared.connection_string
        stand_in = _batch_elsewhere if declared.batch else _elsewhere
        app.add(stand_in, parse_declaration(declared.type_name, parameters), name)
    return Loaded(app, files)


async def _elsewhere(message: RedisMessage) -> None:
    """Stand in for a function of the app."""
    raise NotImplementedError("the functions of the app are called in its processes")


async def _batch_elsewhere(messages: list[RedisMessage]) -> None:
    """Stand in for a function of the app that takes a list."""
    raise NotImplementedError("the functions of the app are called in its processes")
