"""Runs an app until it reports how long its entries took."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.host.throughput import Run, first_line
from listeners.runtime.child_processes import die_with_parent
from triggerfish.testing.server import Server

__all__ = ["OWN_COMMAND", "run_app"]

ROOT = Path(__file__).parents[2]
OWN_COMMAND = (sys.executable, "-m", "triggerfish")


def run_app(app: Path, server: Server, variables: Mapping[str, str], command: Sequence[str] = OWN_COMMAND) -> Run:
    """Run one instance of an app, and return its report. `command` may be the `triggerfish` of another version."""
    process = subprocess.Popen(  # noqa: S603  (our own command line, or one that the user gives)
        [*command, "run", str(app)],
        cwd=ROOT if command[0] == sys.executable else Path(command[0]).parents[2],
        env={**os.environ, **variables, "TRIGGERFISH_CONNECTION": server.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
    )
    try:
        return Run(**json.loads(first_line(process, f"{app.name} with {dict(variables)}")))
    finally:
        process.kill()
        process.communicate()
