"""`triggerfish run`: its log, and how it ends."""

import json
import logging
import re
import signal
from datetime import datetime
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.programs.commands import Command, running_command
from tests.support.trigger_kinds import unfinished
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

APP = """
from triggerfish import App
app = App("shop")

@app.list_trigger(keys="orders", max_deliveries=1)
async def handle(order: str) -> None:
    raise ValueError(order)
"""
SILENCED = {
    "dictConfig with handlers": """
import logging.config
logging.config.dictConfig({
    "version": 1,
    "formatters": {"own": {"format": "OWN %(levelname)s %(name)s %(message)s"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
    "root": {"level": "ERROR", "handlers": ["own"]},
})
""",
    "dictConfig without handlers": """
import logging.config
logging.config.dictConfig({"version": 1, "root": {"level": "CRITICAL", "handlers": []}})
""",
    "dictConfig of others": """
import logging.config
logging.config.dictConfig({"version": 1, "loggers": {"shop": {"level": "INFO"}}})
""",
    "no handler": "import logging; logging.getLogger().handlers.clear()",
    "each disabled": """
import logging
for logger in map(logging.getLogger, list(logging.root.manager.loggerDict)):
    logger.disabled = True
""",
}
UGLY = "\x1b]0;owned\x07\u202e\n2026-01-01 00:00:00,000 ERROR   forged: line\x9b\x7f"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app whose function fails with its element as the text."""
    path = tmp_path / "shop.py"
    path.write_text(APP)
    return path


@pytest.mark.parametrize("configuration", SILENCED.values(), ids=SILENCED.keys())
async def test_an_app_that_configures_logging(server: Server, app: Path, configuration: str) -> None:
    """The host's lines appear, and appear once, whatever the app's configuration of logging does."""
    app.write_text(configuration + APP)
    with running_command(app.parent, "run", app.name, CONNECTION=server.address) as command:
        await command.logged("shop runs as")
        assert await command.terminate() == 0
    lines = command.errors.splitlines()
    assert [line for line in lines if "triggerfish.host" not in line] == []
    for text in ("shop runs as", "draining", "has drained"):
        assert len([line for line in lines if text in line]) == 1, command.errors
    assert ("OWN INFO triggerfish.host" in command.errors) == ("OWN" in configuration)


async def failing_on(command: Command, client: redis.asyncio.Redis, element: str) -> None:
    """Wait until the app's call with this element has failed and the command has ended."""
    await client.rpush("orders", element)
    await command.logged("ValueError")
    assert await command.terminate() == 0


async def test_the_text_format(server: Server, client: redis.asyncio.Redis, app: Path) -> None:
    """Control characters, line breaks and bidirectional marks of a payload are escaped: no line can be forged."""
    with running_command(app.parent, "run", app.name, CONNECTION=server.address) as command:
        await failing_on(command, client, UGLY)
    assert re.search(r"\\x1b\]0;owned\\x07\\u202e\\n2026", command.errors)
    assert all(character.isprintable() for character in command.errors.replace("\n", ""))
    assert all(re.match(r"\d{4}-\d\d-\d\d .* triggerfish|  ", line) for line in command.errors.splitlines())


async def test_the_text_in_a_format_of_the_app(server: Server, client: redis.asyncio.Redis, app: Path) -> None:
    """A payload is escaped in the log, traceback included, even if the app's own handler writes it."""
    app.write_text(SILENCED["dictConfig with handlers"] + APP)
    with running_command(app.parent, "run", app.name, CONNECTION=server.address) as command:
        await failing_on(command, client, UGLY)
    lines = command.errors.split("\n")
    for start in ("OWN ", "  ValueError: "):
        assert any(line.startswith(start) and r"\x1b]0;owned\x07\u202e" in line for line in lines), command.errors
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if line and not line.startswith(("OWN ", "  "))] == []


async def test_a_traceback_that_an_app_has_formatted(server: Server, app: Path) -> None:
    """A traceback that a handler of the app has formatted first is escaped in the text format, too."""
    app.write_text(
        f"""{APP}
import logging
logger = logging.getLogger("shop")
logger.addHandler(logging.StreamHandler(open("own", "w")))
try:
    raise ValueError({UGLY!r})
except ValueError:
    logger.exception("failed")
"""
    )
    with running_command(app.parent, "run", app.name, CONNECTION=server.address) as command:
        await command.logged("shop runs as")
        assert await command.terminate() == 0
    assert r"  ValueError: \x1b]0;owned\x07\u202e" in command.errors
    assert all(re.match(r"\d{4}-\d\d-\d\d .* (triggerfish|shop)|  ", line) for line in command.errors.splitlines())


async def test_the_json_format(server: Server, client: redis.asyncio.Redis, app: Path) -> None:
    """Each record is one line with a JSON object: time in UTC, level, logger, message, instance and exception."""
    app.write_text(
        APP + "import logging\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.exception('two\\nlines')\n"
    )
    options = ("run", app.name, "--log-format", "json")
    with running_command(app.parent, *options, CONNECTION=server.address, INSTANCE="till-1") as command:
        await failing_on(command, client, UGLY)
    assert all(line.isascii() and line.isprintable() for line in command.errors.splitlines())
    records = [json.loads(line) for line in command.errors.splitlines()]
    assert {record["instance"] for record in records} == {"till-1"}
    assert all(datetime.fromisoformat(record["time"]).utcoffset() is not None for record in records)
    assert all(record["level"] in logging.getLevelNamesMapping() for record in records)
    [first] = [record for record in records if record["logger"] == "root"]
    assert first["message"] == "two\nlines"
    assert first["exception"].startswith("Traceback")
    assert first["exception"].endswith("ZeroDivisionError: division by zero")
    assert any(record["message"].startswith("shop runs as till-1") for record in records)


async def test_the_format_from_the_environment(server: Server, app: Path) -> None:
    """TRIGGERFISH_LOG_FORMAT is the format's variable."""
    with running_command(app.parent, "run", app.name, CONNECTION=server.address, LOG_FORMAT="json") as command:
        await command.logged("shop runs as")
    assert json.loads(command.errors.splitlines()[0])["logger"] == "triggerfish.host"


HANDLERS = """
import atexit, logging, sys, threading
@atexit.register
def last(): sys.stdout.write("telemetry sent")
"""


@pytest.mark.parametrize(
    ("handler", "sent"),
    [
        ("def other(): pass", True),
        ("def other(): raise ValueError", True),
        ("def other(): sys.exit(3)", True),
        ("def other(): import asyncio; asyncio.run(asyncio.sleep(0))", True),
        ("def other(): sys.stderr.write('hangs'); threading.Event().wait()", False),
        ("def other(): logging._acquireLock(); threading.Event().wait()" if hasattr(logging, "_acquireLock")
         else "def other(): logging._lock.acquire(); threading.Event().wait()", False),
    ],
    ids=["ends", "raises", "exits", "runs a loop", "hangs", "hangs with a lock"],
)  # fmt: skip
async def test_exit_handlers(server: Server, app: Path, handler: str, sent: bool) -> None:
    """Handlers of atexit run at a drain, and none keeps the process, whatever it does."""
    app.write_text(f"{HANDLERS}{handler}\natexit.register(other)\n{APP}")
    with running_command(app.parent, "run", app.name, CONNECTION=server.address) as command:
        await command.logged("shop runs as")
        assert await command.terminate() == 0
    assert command.output == ("telemetry sent" if sent else "")
    assert "has drained" in command.errors


@pytest.mark.parametrize("kind", ["idle", "busy"])
async def test_a_signal_that_arrives_twice(server: Server, client: redis.asyncio.Redis, app: Path, kind: str) -> None:
    """SIGTERM that arrives twice within a second is one request to drain, also while the process is ending."""
    app.write_text(
        f"import asyncio, atexit, sys, time\natexit.register(lambda: time.sleep(0.2))\n{APP}".replace(
            "raise ValueError(order)", "sys.stderr.write('called ')\n    await asyncio.sleep(0.3)"
        )
    )
    with running_command(app.parent, "run", app.name, CONNECTION=server.address) as command:
        await command.logged("shop runs as")
        if kind == "busy":
            await client.rpush("orders", "x")
            await command.logged("called ")
        assert await command.terminate(times=2) == 0
    assert "has drained" in command.errors
    assert await unfinished(client, "list", key="orders") == 0


@pytest.mark.parametrize("command_name", ["scaler", "up"])
async def test_a_signal_that_arrives_twice_elsewhere(server: Server, app: Path, command_name: str) -> None:
    """The scaler and `up` treat two signals in a row as one, too."""
    arguments = {"scaler": ("scaler",), "up": ("up", app.name, "--min-instances", "1")}[command_name]
    ports = ("--grpc-port", "0", "--http-port", "0")
    with running_command(app.parent, *arguments, *ports, CONNECTION=server.address) as command:
        await command.logged({"scaler": "serving gRPC", "up": "shop runs as"}[command_name])
        assert await command.terminate(times=2) == 0


async def test_a_later_signal_exits_at_once(server: Server, client: redis.asyncio.Redis, app: Path) -> None:
    """A signal a second after the first exits at once, while calls are still running."""
    app.write_text(APP.replace("raise ValueError(order)", "import asyncio; await asyncio.Event().wait()"))
    await client.rpush("orders", "x")
    ports = ("--grpc-port", "0", "--http-port", "0")
    with running_command(app.parent, "up", app.name, *ports, CONNECTION=server.address) as command:
        await eventually(lambda: client.exists("triggerfish:{orders}:elements"))
        await command.logged("shop runs as")
        assert await again(command) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    "call",
    ["time.sleep(600)", "logging.getLogger().handlers[0].lock = lock; lock.acquire(); lock.acquire()"],
    ids=["blocked", "in a lock of logging"],
)
async def test_a_later_signal_exits_while_the_loop_is_blocked(
    server: Server, client: redis.asyncio.Redis, app: Path, call: str
) -> None:
    """A later signal exits at once although a call blocks the event loop, or the log."""
    called = f"sys.stderr.write('called '); {call}"
    app.write_text(
        "import logging, sys, threading, time; lock = threading.Lock()" + APP.replace("raise ValueError(order)", called)
    )
    await client.rpush("orders", "x")
    with running_command(app.parent, "run", app.name, CONNECTION=server.address) as command:
        await command.logged("called ")
        assert await again(command) == 128 + signal.SIGTERM
    assert ("SIGTERM again: exiting now" in command.errors) == (call == "time.sleep(600)")


async def again(command: Command) -> int:
    """Send SIGTERM until the process has ended. Return its exit status."""

    def ended() -> bool:
        command.process.terminate()
        return command.process.poll() is not None

    await eventually(ended)
    return command.process.returncode


LOGGING = """
import logging
from triggerfish import App, Context
app = App("shop")

@app.stream_trigger(keys="orders")
def handle(order: str, context: Context) -> None:
    context.log.info("now handling %s", order)
    logging.getLogger("shop").info("unrelated", extra={"key": "no place", "id": 5})
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_the_log_of_a_context(server: Server, app: Path, client: redis.asyncio.Redis, log_format: str) -> None:
    """Its lines have the function, the key and the ID of the entry; lines of other loggers have none of them."""
    app.write_text(LOGGING)
    await client.xadd("orders", {"name": UGLY}, id="5-1")
    with running_command(app.parent, "run", app.name, "--log-format", log_format, CONNECTION=server.address) as command:
        await command.logged("unrelated")
        assert await command.terminate() == 0
    [line] = [line for line in command.errors.splitlines() if "now handling" in line]
    [other] = [line for line in command.errors.splitlines() if "unrelated" in line]
    if log_format == "text":
        assert "triggerfish.function: handle orders 5-1: now handling " in line
        assert other.endswith("shop: unrelated")
    else:
        written = json.loads(line)
        assert (written["function"], written["key"], written["id"]) == ("handle", "orders", "5-1")
        assert not {"function", "key", "id"} & json.loads(other).keys()
