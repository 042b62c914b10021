"""The command line, run as users run it: its output and exit status."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis.asyncio

from listeners.runtime.child_processes import die_with_parent
from listeners.version import __version__
from tests.support.programs.environment import environment
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

SECONDS = 100
SECRET = "hunter2"
APP = """
from triggerfish import App, RedisMessage
app = App("shop")

@app.list_trigger(keys="orders returns", messages_per_worker=10)
def handle(order: str) -> None: ...

@app.stream_trigger(keys="payments", messages_per_worker=10)
def settle(payment: RedisMessage) -> None: ...

@app.pubsub_trigger(channel="prices.*")
def reprice(message: RedisMessage) -> None: ...
"""

Finished = subprocess.CompletedProcess[str]
Triggerfish = Callable[..., Finished]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app with all three triggers, in the folder where commands run."""
    path = tmp_path / "shop.py"
    path.write_text(APP)
    return path


@pytest.fixture
def triggerfish(tmp_path: Path) -> Triggerfish:
    """A function that runs a command to its end: `triggerfish("check", "shop.py", CONNECTION=...)`."""

    def run(*arguments: str, **variables: str) -> Finished:
        return subprocess.run(
            [sys.executable, "-m", "triggerfish", *arguments],
            cwd=tmp_path,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


def is_a_mistake(finished: Finished, *words: str) -> bool:
    """Assert that a command exited with status 2 and printed one line to stderr that contains these words."""
    assert finished.returncode == 2, finished
    assert finished.stdout == ""
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("triggerfish: ")
    assert all(word in lines[0] for word in words), lines[0]
    return True


def test_starting_the_command_line_imports_no_slow_packages() -> None:
    """The command line does not import aiohttp, grpc, jinja2 or kubernetes before they are used."""
    slow = "{'aiohttp', 'grpc', 'jinja2', 'kubernetes'}"
    program = f"import sys, triggerfish.cli.program; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=SECONDS)
    assert done.stdout == "[]\n"


def test_help(triggerfish: Triggerfish) -> None:
    """`--help` lists every command and exits with status 0."""
    shown = triggerfish("--help")
    assert shown.returncode == 0
    for command in ("up", "run", "check", "dead", "scaler", "explain", "probe", "manifest"):
        assert re.search(rf"\b{command}\b", shown.stdout)


def test_version(triggerfish: Triggerfish) -> None:
    """`--version` prints the version and nothing else."""
    assert triggerfish("--version").stdout == f"{__version__}\n"


def test_the_installed_command() -> None:
    """The package installs the command `triggerfish`."""
    command = Path(sys.executable).with_name("triggerfish")
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert shown.stdout == f"{__version__}\n"


@pytest.mark.parametrize("command", ["run", "up", "check", "explain"])
def test_an_app_that_does_not_exist(triggerfish: Triggerfish, command: str) -> None:
    """Every command that takes an app reports in one line that the file does not exist."""
    assert is_a_mistake(triggerfish(command, "missing.py"), "app", "'missing.py'", "no such file")


@pytest.mark.parametrize("place", [(), ("shop.py", "--config")], ids=["app", "config"])
@pytest.mark.parametrize("scheme", ["redis", "valkeys"])
def test_a_connection_in_place_of_a_file(triggerfish: Triggerfish, place: Sequence[str], scheme: str) -> None:
    """A connection string that is given for an app or a file is refused, and not shown."""
    finished = triggerfish("check", *place, f"{scheme}://:{SECRET}@cache")
    assert is_a_mistake(finished, "config" if place else "--connection", "not shown")
    assert SECRET not in finished.stderr + finished.stdout


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nothing_of_this_name", ["No module named 'nothing_of_this_name'"]),
        ("def broken(:", ["SyntaxError"]),
        ("raise ValueError('first line\\nsecond line')", ["ValueError", "first line second line"]),
        ("x = 1", ["It has no app."]),
        ("from triggerfish import App\napp = App()", ["no functions"]),
        (APP.replace("order: str", ""), ["handle", "takes one parameter"]),
        (APP.replace("order: str", "order: object()"), ["order"]),
        (APP.replace("messages_per_worker=10", "messages_per_worker=0"), ["messages_per_worker", "0"]),
        (APP.replace('channel="prices.*"', 'channel=" "'), ["channel", "empty"]),
        (APP.replace('keys="payments"', 'keys="payments", connection="cache"'), ["'cache'", "CONNECTIONS__CACHE"]),
    ],
    ids=["import", "syntax", "two lines", "no app", "no function", "no parameter", "annotation", "number", "channel",
         "connection"],
)  # fmt: skip
def test_an_invalid_app(triggerfish: Triggerfish, app: Path, source: str, words: list[str]) -> None:
    """An invalid app exits with status 2 and one line that names the mistake."""
    app.write_text(source)
    assert is_a_mistake(triggerfish("run", app.name), *words)


@pytest.mark.parametrize(
    "command", ["run", "up", "check", "check --acl", "check --no-write", "explain", "dead list shop.py handle"]
)
@pytest.mark.parametrize("option", ['connection="cachee"', f'connection_string="{SECRET},cache:1"'])
def test_the_connection_of_a_function(triggerfish: Triggerfish, app: Path, command: str, option: str) -> None:
    """Every command that connects refuses an unknown or invalid connection, and names the function."""
    app.write_text(APP.replace('"orders returns"', f'"orders returns", {option}'))
    words = command.split() if "shop.py" in command else [*command.split(), "shop.py"]
    finished = triggerfish(*words, CONNECTIONS__CACHE="h:1")
    assert is_a_mistake(finished, "connection", "of `handle`")
    assert SECRET not in finished.stderr + finished.stdout


def test_invalid_settings(triggerfish: Triggerfish, app: Path) -> None:
    """Invalid settings exit with status 2 and one line that names the setting and contains no secret."""
    bad_file = app.with_name("settings.yaml")
    bad_file.write_text(f"conection: 'host,password={SECRET}'")
    attempts = {
        "conection": triggerfish("scaler", "--config", str(bad_file)),
        "missing.yaml": triggerfish("run", app.name, "--config", "missing.yaml"),
        "scaler.bogus": triggerfish("check", app.name, SCALER__BOGUS="1"),
        "grpc_port": triggerfish("scaler", SCALER__GRPC_PORT="many"),
        "connection:": triggerfish("explain", app.name, "--connection", f"host,paswort={SECRET}"),
        "connections.cache": triggerfish("scaler", CONNECTIONS__CACHE=f"redis://:{SECRET}@host:99999"),
    }
    for name, finished in attempts.items():
        assert is_a_mistake(finished, name)
        assert SECRET not in finished.stderr


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that is in use."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("command", ["scaler", "up", "run"])
def test_a_port_in_use(triggerfish: Triggerfish, app: Path, server: Server, taken_port: int, command: str) -> None:
    """A port in use exits with status 2 and one line that names the port's setting."""
    arguments = {"scaler": ["scaler"], "up": ["up", app.name], "run": ["run", app.name]}[command]
    local = {"SCALER__GRPC_HOST": "127.0.0.1", "SCALER__HTTP_HOST": "127.0.0.1", "HOST__HTTP_HOST": "127.0.0.1"}
    port = str(taken_port)
    options = {"CONNECTION": server.address, "LOG": "error", **local}
    http = triggerfish(*arguments, "--http-port", port, **options, SCALER__GRPC_PORT="0")
    assert is_a_mistake(http, "http_port", port, "--http-port", "__HTTP_PORT")
    if command != "run":
        grpc = triggerfish(*arguments, "--grpc-port", port, "--http-port", "0", **options)
        assert is_a_mistake(grpc, "scaler.grpc_port", port, "--grpc-port", "TRIGGERFISH_SCALER__GRPC_PORT")


def test_a_log_level_that_does_not_exist(triggerfish: Triggerfish, app: Path) -> None:
    """An unknown log level exits with status 2, lists the valid levels and suggests the closest."""
    finished = triggerfish("run", app.name, "--log-level", "inof")
    assert finished.returncode == 2
    printed = " ".join(finished.stderr.replace("│", " ").split())
    assert "Did you mean info? Use one of debug, info, warning, error." in printed


@pytest.mark.parametrize("options", [(), ("--no-write",)])
def test_check(triggerfish: Triggerfish, app: Path, server: Server, options: Sequence[str]) -> None:
    """`check` prints a line per trigger with the server's address and version, and leaves no key. With --no-write it
    makes none.
    """
    with server.client() as client:
        client.config_resetstat()
        before = client.info("commandstats")
        finished = triggerfish("check", app.name, *options, CONNECTION=server.address)
        changed = {command for command in client.info("commandstats") if command not in before}
        assert client.dbsize() == 0
    assert finished.returncode == 0, finished
    warnings, lines = (
        [line for line in finished.stdout.splitlines() if ("warn " in line) is it] for it in (True, False)
    )
    assert [line.split()[:2] for line in lines] == [["ok", "handle:"], ["ok", "settle:"], ["ok", "reprice:"]]
    assert all(f"on {server.address}: Valkey 9.1" in line for line in lines)
    assert [line.partition(": ")[0] for line in warnings] == [f"warn {server.address}"]
    writing = {"cmdstat_xgroup|create", "cmdstat_rpush", "cmdstat_set"}
    assert writing & changed == (set() if options else writing)


def test_one_command_for_all_keyspace_notifications(triggerfish: Triggerfish, app: Path, server: Server) -> None:
    """Triggers that need different keyspace notifications get the same command, after which none warns."""
    channels = ("__keyevent@0__:expired", "__keyspace@0__:orders", "__keyevent@0__:lpush")
    functions = (
        f"@app.pubsub_trigger(channel='{channel}')\ndef function_{number}(message: str) -> None: ...\n"
        for number, channel in enumerate(channels)
    )
    app.write_text("from triggerfish import App\napp = App('shop')\n" + "".join(functions))
    printed = triggerfish("check", app.name, CONNECTION=server.address).stdout
    commands = re.findall(r"CONFIG SET (notify-keyspace-events) (\S+)", printed)
    assert len(commands) == len(channels)
    [(name, flags)] = set(commands)
    with server.client() as client:
        client.config_set(name, flags)
        try:
            assert "CONFIG SET notify" not in triggerfish("check", app.name, CONNECTION=server.address).stdout
        finally:
            client.config_set(name, "")


def test_the_acl_rule(triggerfish: Triggerfish, app: Path, server: Server) -> None:
    """`check --acl` prints one line for redis-cli: a rule for the connection's user, or for a new user."""
    with server.client() as client:
        printed = triggerfish("check", app.name, "--acl", CONNECTION=server.address)
        [line] = printed.stdout.splitlines()
        client.execute_command(*line.split())
        connection = f"{server.address},user=shop,password=CHANGE-ME"
        try:
            assert triggerfish("check", app.name, CONNECTION=connection).returncode == 0
            again = triggerfish("check", app.name, "--acl", CONNECTION=connection).stdout.strip()
            client.execute_command("ACL", "SETUSER", "shop", "-evalsha")
            narrow = triggerfish("check", app.name, CONNECTION=connection)
        finally:
            client.acl_deluser("shop")
    assert again == line.replace(" on >CHANGE-ME", "")
    assert (narrow.returncode, narrow.stderr) == (1, "")
    assert [line.split()[0] for line in narrow.stdout.splitlines() if "EVALSHA denied" in line] == ["FAIL"] * 3


async def test_explain(triggerfish: Triggerfish, app: Path, server: Server, client: redis.asyncio.Redis) -> None:
    """`explain` prints the backlog and the target of each trigger."""
    await client.rpush("orders", *range(25))
    await client.rpush("returns", *range(6))
    for number in range(11):
        await client.xadd("payments", {"n": number})
    finished = triggerfish("explain", app.name, CONNECTION=server.address)
    assert finished.returncode == 0, finished
    rows = [line.split() for line in finished.stdout.splitlines()]
    assert ["handle", "orders", "25", "0", "-", "-"] in rows
    assert ["returns", "6", "0", "-", "-", "31", "10", "4"] in rows
    [settle] = [row for row in rows if row[:1] == ["settle"]]
    assert settle[-3:] == ["11", "10", "2"]
    [reprice] = [row for row in rows if row[:1] == ["reprice"]]
    assert reprice[-1] == "1"


def test_an_unreachable_redis(triggerfish: Triggerfish, app: Path) -> None:
    """If Redis is unreachable, `check` and `explain` exit with status 1 and name the address, without a traceback."""
    address = f"127.0.0.1:{free_port()}"
    checked = triggerfish("check", app.name, CONNECTION=f"{address},password={SECRET}")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert [line.split()[0] for line in checked.stdout.splitlines()] == ["FAIL"] * 3
    assert all(f"connecting to {address} was refused" in line for line in checked.stdout.splitlines())
    assert all("Is Redis running there?" in line and "--connection" in line for line in checked.stdout.splitlines())
    explained = triggerfish("explain", app.name, CONNECTION=f"{address},password={SECRET}")
    assert explained.returncode == 1
    lines = explained.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["handle", "settle"]
    assert all(f"connecting to {address} was refused" in line for line in lines)
    assert explained.stdout.count("unavailable") == 2
    assert SECRET not in checked.stdout + explained.stdout + explained.stderr


@pytest.mark.parametrize("form", ["{address},user=nobody,password={secret}", "redis://nobody:{secret}@{address}"])
def test_a_password_is_never_shown(triggerfish: Triggerfish, app: Path, server: Server, form: str) -> None:
    """If Redis rejects the password, `check` and `explain` exit with status 1 and do not print it."""
    connection = form.format(address=server.address, secret=SECRET)
    checked, explained = (triggerfish(command, app.name, CONNECTION=connection) for command in ("check", "explain"))
    assert (checked.returncode, explained.returncode) == (1, 1)
    assert server.address in checked.stdout
    assert SECRET not in checked.stdout + checked.stderr + explained.stdout + explained.stderr


@pytest.mark.parametrize("command", ["run", "up", "scaler"])
async def test_signals_and_secrets(app: Path, server: Server, command: str, tmp_path: Path) -> None:
    """Long-running commands exit with status 0 on SIGTERM, and their debug logs do not contain the password."""
    with server.client() as client:
        client.acl_setuser("someone", enabled=True, reset=True, passwords=[f"+{SECRET}"], keys=["*"], channels=["*"],
                           categories=["+@all"])  # fmt: skip
    ports = [] if command == "run" else ["--grpc-port", "0", "--http-port", "0"]
    target = [] if command == "scaler" else [app.name]
    log = tmp_path / "log"
    started = {"run": "shop runs as", "up": "shop runs as", "scaler": "serving gRPC for KEDA on port"}[command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "triggerfish", command, *target, *ports, "--log-level", "debug"],
            cwd=tmp_path,
            env=environment(CONNECTION=f"{server.address},user=someone,password={SECRET}"),
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )
    try:
        await eventually(lambda: started in log.read_text() or process.poll() is not None, seconds=SECONDS)
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: process.poll() is not None, seconds=SECONDS)
    finally:
        process.kill()
        process.wait()
        with server.client() as client:
            client.acl_deluser("someone")
    assert (process.returncode, "Traceback" in log.read_text()) == (0, False), log.read_text()
    assert SECRET not in log.read_text()
