"""Installs what the programs need: for Python the peers' environments, for others folders in .venv/queues.

Run as a module, it installs the programs that the command line names, except those whose tool is missing.
"""

import contextlib
import fcntl
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import environments
from benchmarks.peers.entrants import ROOT, interpreter

__all__ = ["PROGRAMS", "command", "install", "missing_tool"]

PROGRAMS = Path(__file__).parent / "programs"
FOLDERS = ROOT / ".venv" / "queues"


@dataclass(frozen=True)
class Foreign:
    """A program that is not in Python. It is copied into a folder, and built there by a command.

    `needs` is the tool or the file that must be on this machine, and `start` the command line.
    """

    needs: str
    start: tuple[str, ...]
    build: tuple[str, ...] = ()


FOREIGN = {
    "asynq": Foreign("go", ("program",), ("go", "build", "-mod=mod", "-o", "program", ".")),
    "bullmq": Foreign(
        "npm", ("node", "program.mjs"), ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund")
    ),
    # Laravel and Sidekiq are those of Debian: php-illuminate-queue, php-illuminate-redis, php-redis; ruby-sidekiq.
    "laravel": Foreign("/usr/share/php/Illuminate/Queue/autoload.php", ("php", "program.php")),
    "sidekiq": Foreign("sidekiq", ("ruby", "program.rb")),
}


def command(program: str) -> list[str]:
    """Return the command line of a program that is installed."""
    if program not in FOREIGN:
        return [str(interpreter(program)), "-m", f"benchmarks.queues.programs.{program}_program"]
    *tool, file = FOREIGN[program].start
    return [*tool, str(FOLDERS / program / file)]


def missing_tool(program: str) -> str:
    """Return what a program needs of the system if it is not on this machine, or ""."""
    needs = FOREIGN[program].needs if program in FOREIGN else ""
    return "" if not needs or shutil.which(needs) or Path(needs).is_file() else needs


def install(program: str) -> str:
    """Install what a program needs unless it is up to date. Return the reason of a failure, or ""."""
    if tool := missing_tool(program):
        return f"not installed: {tool} is not on this machine"
    with _locked(program):
        return _install_folder(program) if program in FOREIGN else environments.install(program)


def _install_folder(program: str) -> str:
    source, target = PROGRAMS / program, FOLDERS / program
    wanted = "".join(path.read_text() for path in sorted(source.iterdir()))
    installed = target / "installed.txt"
    if installed.exists() and installed.read_text() == wanted:
        return ""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    build = FOREIGN[program].build
    if build and (reason := environments.failure(list(build), target)):
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
