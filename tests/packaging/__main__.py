"""Runs `make package`: builds the wheel, installs it into empty environments, and runs it from an empty folder."""

import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis as redis_client

from tests.support.programs.environment import environment
from triggerfish.testing.server import Server, embedded_binary

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS = 300
#: Another distribution that installs a package `scaler`.
OTHER_SCALER = "scaler==1.9.9"
APP = """
from triggerfish import App

app = App()

@app.list_trigger(keys="orders")
def handle_order(order: dict) -> None:
    print("handled", order, flush=True)
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment. Its commands run in `folder`, which has no files of the project."""

    path: Path
    folder: Path

    def run(self, *command: str, code: int = 0, expected: str = "") -> None:
        """Run a command. Raise SystemExit if its exit status is not `code` or it does not print `expected`."""
        print("$", *command, flush=True)
        done = subprocess.run(
            [str(self.path / "bin" / command[0]), *command[1:]],
            cwd=self.folder,
            env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        printed = done.stdout + done.stderr
        if done.returncode != code or expected not in printed:
            raise SystemExit(
                f"expected exit status {code} and {expected!r} in the output, got {done.returncode}:\n{printed}"
            )


def main() -> None:
    """Check the wheel; exit with status 1 and a message if a check fails."""
    with tempfile.TemporaryDirectory(prefix="triggerfish-package-") as temporary:
        folder = Path(temporary)
        wheel = _build(folder / "dist")
        with _environment(folder / "bare", str(wheel)) as bare, Server(embedded_binary()) as server:
            _check_bare(bare, server.address)
            _check_other_scaler(bare)
        with _environment(folder / "demo", f"{wheel}[demo]") as demo:
            shutil.copytree(ROOT / "examples" / "demo", demo.folder / "demo")
            demo.run("python", "-m", "demo", expected="done after")
    print("the wheel works")


def _build(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT],
        check=True,
        timeout=COMMAND_SECONDS,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


@contextmanager
def _environment(path: Path, requirement: str) -> Iterator[Environment]:
    venv.create(path, with_pip=True)
    folder = path / "elsewhere"
    folder.mkdir()
    created = Environment(path, folder)
    created.run("pip", "install", "--quiet", requirement)
    yield created


def _check_bare(bare: Environment, redis: str) -> None:
    """Check that functions run without extras, and that other commands name the extra that they need."""
    (bare.folder / "shop.py").write_text(APP)
    bare.run("python", "-c", "import importlib.util as u; assert not u.find_spec('grpc') and not u.find_spec('jinja2')")
    bare.run("triggerfish", "--version")
    bare.run("triggerfish", "check", "shop.py", "--connection", redis, expected="handle_order")
    bare.run(
        "triggerfish", "dead", "list", "shop.py", "handle_order", "--connection", redis, expected="no dead letters"
    )
    bare.run("triggerfish", "explain", "shop.py", "--connection", redis, expected="orders")
    bare.run("triggerfish", "run", "shop.py", "--until-empty", "--connection", redis, expected="nothing is left")
    _check_run(bare, redis)
    for command in (
        ["scaler"],
        ["up", "shop.py"],
        ["probe", "localhost:6000", "-m", "keys=a"],
        ["manifest", "shop.py"],
    ):
        bare.run("triggerfish", *command, code=2, expected="pip install 'triggerfish[scaler]'")


def _check_run(bare: Environment, redis: str) -> None:
    """Check that an instance handles an element and drains on SIGTERM."""
    command = [str(bare.path / "bin" / "triggerfish"), "run", "shop.py", "--connection", redis]
    print("$", *command, flush=True)
    with subprocess.Popen(command, cwd=bare.folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        with redis_client.from_url(f"redis://{redis}", protocol=2) as client:
            client.rpush("orders", '{"number": 1}')
        line = process.stdout.readline() if process.stdout else ""
        process.send_signal(signal.SIGTERM)
        code = process.wait(COMMAND_SECONDS)
    if (line, code) != ("handled {'number': 1}\n", 0):
        raise SystemExit(f"expected exit status 0 and the handled order, got {code} and {line!r}")


def _check_other_scaler(bare: Environment) -> None:
    """Check that the error names another distribution's `scaler` that has replaced ours."""
    bare.run("pip", "install", "--quiet", "--no-deps", OTHER_SCALER)
    bare.run("triggerfish", "check", "shop.py", code=2, expected="belongs to another distribution")


if __name__ == "__main__":
    main()
