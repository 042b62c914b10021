"""Creates the peers' environments in .venv/peers/NAME, with exactly the pins of requirements/NAME.txt."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.entrants import interpreter

__all__ = ["REQUIREMENTS", "failure", "install"]

REQUIREMENTS = Path(__file__).parent / "requirements"
INSTALL_SECONDS = 300.0


def install(worker: str) -> str:
    """Create a peer's environment unless it is up to date. Return the reason of a failure, or ""."""
    wanted = (REQUIREMENTS / f"{worker}.txt").read_text()
    python = interpreter(worker)
    installed = python.parents[1] / "installed.txt"
    if installed.exists() and installed.read_text() == wanted:
        return ""
    pip = (python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS / f"{worker}.txt")
    for command in ((sys.executable, "-m", "venv", "--clear", python.parents[1]), pip):
        if reason := failure([str(part) for part in command]):
            return reason
    installed.write_text(wanted)
    return ""


def failure(command: list[str], folder: Path | None = None) -> str:
    """Run an installer, in a folder if there is one. Return the last line of its error output if it fails, or ""."""
    # The project's constraints do not apply to the peers.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_CONSTRAINT")}
    try:
        done = subprocess.run(  # noqa: S603  (our own command line)
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_SECONDS:g} s"
    if done.returncode == 0:
        return ""
    return "not installed: " + (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
