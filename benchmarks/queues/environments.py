"""Installs what the programs need: for Python the peers' environments, for Node.js and Go folders in .venv/queues.

Run as a module, it installs the programs that the command line names, except those whose tool is missing.
"""

import contextlib
import fcntl
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers import environments
from benchmarks.peers.entrants import ROOT, interpreter

__all__ = ["PROGRAMS", "command", "install", "missing_tool"]

PROGRAMS = Path(__file__).parent / "programs"
FOLDERS = ROOT / ".venv" / "queues"
#: How to install the programs that are not in Python, and how to start them.
INSTALLERS = {
    "bullmq": ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"],
    "asynq": ["go", "build", "-mod=mod", "-o", "program", "."],
}
COMMANDS = {"bullmq": ["node", str(FOLDERS / "bullmq" / "program.mjs")], "asynq": [str(FOLDERS / "asynq" / "program")]}


def command(program: str) -> list[str]:
    """Return the command line of a program that is installed."""
    python = [str(interpreter(program)), "-m", f"benchmarks.queues.programs.{program}_program"]
    return COMMANDS.get(program, python)


def missing_tool(program: str) -> str:
    """Return the system's tool that a program is installed with if it is not on this machine, or ""."""
    tool = INSTALLERS[program][0] if program in INSTALLERS else ""
    return tool if tool and shutil.which(tool) is None else ""


def install(program: str) -> str:
    """Install what a program needs unless it is up to date. Return the reason of a failure, or ""."""
    if tool := missing_tool(program):
        return f"not installed: {tool} is not on this machine"
    with _locked(program):
        return _install_folder(program) if program in INSTALLERS else environments.install(program)


def _install_folder(program: str) -> str:
    source, target = PROGRAMS / program, FOLDERS / program
    wanted = "".join(path.read_text() for path in sorted(source.iterdir()))
    installed = target / "installed.txt"
    if installed.exists() and installed.read_text() == wanted:
        return ""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    if reason := environments.failure(INSTALLERS[program], target):
        return reason
    installed.write_text(wanted)
    return ""


@contextlib.contextmanager
def _locked(program: str) -> Iterator[None]:
    """Have other processes, such as those of parallel tests, wait during the block."""
    FOLDERS.mkdir(parents=True, exist_ok=True)
    with (FOLDERS / f"{program}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for name in sys.argv[1:]:
        reason = install(name)
        if reason and not missing_tool(name):
            sys.exit(f"{name}: {reason}")
        sys.stdout.write(f"{name}: {reason or 'installed'}\n")
