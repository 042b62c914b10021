"""Installs what the programs need: for Python the peers' environments, for Node.js and Go folders in .venv/queues."""

import shutil
from pathlib import Path

from benchmarks.peers import environments
from benchmarks.peers.entrants import ROOT, interpreter

__all__ = ["command", "install", "needs"]

PROGRAMS = Path(__file__).parent / "programs"
FOLDERS = ROOT / ".venv" / "queues"
#: The programs that are not in Python, each with the tool and the commands that install it.
INSTALLERS = {
    "bullmq": [["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]],
    "asynq": [["go", "build", "-mod=mod", "-o", "program", "."]],
}
COMMANDS = {"bullmq": ["node", str(FOLDERS / "bullmq" / "program.mjs")], "asynq": [str(FOLDERS / "asynq" / "program")]}


def needs(program: str) -> str:
    """Return the tool of the system that a program is installed with, or "" if it needs none."""
    return INSTALLERS[program][0][0] if program in INSTALLERS else ""


def command(program: str) -> list[str]:
    """Return the command line of a program that is installed."""
    python = [str(interpreter(program)), "-m", f"benchmarks.queues.programs.{program}_program"]
    return COMMANDS.get(program, python)


def install(program: str) -> str:
    """Install what a program needs unless it is up to date. Return the reason of a failure, or ""."""
    if program not in INSTALLERS:
        return environments.install(program)
    if shutil.which(needs(program)) is None:
        return f"not installed: {needs(program)} is not on this machine"
    source, target = PROGRAMS / program, FOLDERS / program
    wanted = "".join(path.read_text() for path in sorted(source.iterdir()))
    installed = target / "installed.txt"
    if installed.exists() and installed.read_text() == wanted:
        return ""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    for step in INSTALLERS[program]:
        if reason := environments.failure(step, target):
            return reason
    installed.write_text(wanted)
    return ""
