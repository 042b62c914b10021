"""The public API: its names are complete, imported lazily, and typed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import listeners
import triggerfish
from triggerfish.settings import load_settings

ROOT = Path(__file__).parents[2]
SECONDS = 120
USERS_FILE = """
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from triggerfish import App, Call, CallNext, Context, Host, RedisMessage, Reject, Retry, load_settings

app = App("shop")


@app.lifespan
async def lifespan() -> AsyncIterator[dict[str, int]]:
    yield {"left": 5}


@App().lifespan
@contextlib.asynccontextmanager
async def managed() -> AsyncGenerator[int, None]:
    yield 5


@app.middleware
async def middleware(call: Call, call_next: CallNext) -> None:
    call.context.log.info("%s %d", call.function, len(call.messages))
    await call_next()


@app.list_trigger(keys="stock")
async def count(message: RedisMessage, context: Context[dict[str, int]]) -> int:
    await context.redis.set("left", context.state["left"])
    return context.state["left"]


@app.list_trigger(keys="more")
def count_plainly(message: RedisMessage, context: Context) -> None:
    context.redis_sync.set(context.key, context.seconds_left)


@app.list_trigger(keys="orders", batch_size=50)
async def handle_order(message: RedisMessage) -> None:
    if message.deliveries > 3:
        raise Reject("too often")
    raise Retry("later", after_seconds=1.5)


async def main() -> None:
    settings = load_settings("settings.yaml", env_file=".env")
    host = Host(app, settings.redis_connections(), settings.host)
    await host.run()
    await app.run()
    await app.run("127.0.0.1:6379", settings.host)
    reveal_type(handle_order)
    reveal_type(host.ready)
    reveal_type(Context(state=5).state)
    await count(RedisMessage("q", "a"), Context(state={"left": 1}))
"""
SIMPLE_APP = """
from triggerfish import App, Host

app = App()

@app.list_trigger(keys="q")
def double(text: str) -> str:
    return text * 2
"""
WRONG = USERS_FILE.replace("batch_size=50", "batch_size='many'")


def test_every_public_name_is_there() -> None:
    """`triggerfish` exports the names of `listeners` and one more, and every name can be imported.

    Its App is that of `listeners` with a method to run it.
    """
    assert triggerfish.__all__ == [*listeners.__all__, "load_settings"]
    assert triggerfish.load_settings is load_settings
    same = set(listeners.__all__) - {"App"}
    assert {name: getattr(triggerfish, name) for name in same} == {name: getattr(listeners, name) for name in same}
    assert issubclass(triggerfish.App, listeners.App)
    assert dir(triggerfish) == sorted(triggerfish.__all__)


def test_the_public_names() -> None:
    """These names are public, and no others. Removing one breaks users' code."""
    assert triggerfish.__all__ == [
        "App",
        "BatchError",
        "Call",
        "CallNext",
        "ConfigurationError",
        "Connections",
        "Context",
        "Fields",
        "FromField",
        "Host",
        "HostSettings",
        "RedisMessage",
        "Reject",
        "Retry",
        "TriggerfishError",
        "__version__",
        "load_settings",
    ]


@pytest.mark.parametrize("submodule", ["listeners.errors", "listeners.functions", "triggerfish.testing"])
def test_submodules_are_attributes(submodule: str) -> None:
    """A submodule is an attribute of its package, whether or not something has imported it."""
    package, _, name = submodule.partition(".")
    program = f"import {package}; print({package}.{name}.__name__, hasattr({package}, 'errorss'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.stdout == f"{submodule} False\n", done.stderr


def test_a_name_that_is_not_public() -> None:
    """A name that is not public raises AttributeError."""
    with pytest.raises(AttributeError, match="Appp"):
        _ = triggerfish.Appp  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="Appp"):
        _ = listeners.Appp  # type: ignore[attr-defined]


def test_public_names_are_imported_lazily() -> None:
    """`import triggerfish` imports no other package; each name imports only what it needs."""
    program = """
import sys
import triggerfish
print(sorted({"listeners", "pydantic", "redis"} & set(sys.modules)))
triggerfish.Retry
print(sorted({"listeners", "pydantic", "redis"} & set(sys.modules)))
triggerfish.App
print(sorted({"listeners", "pydantic", "redis", "prometheus_client"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert [ast.literal_eval(line) for line in done.stdout.splitlines()] == [
        [],
        ["listeners"],
        ["listeners", "pydantic"],
    ]


def test_an_app_loads_without_uvloop_and_boot_clock(tmp_path: Path) -> None:
    """As on Windows, an app loads without uvloop and clock_gettime, and its functions can be called as a host does."""
    (tmp_path / "shop.py").write_text(SIMPLE_APP)
    program = """
import sys, time
sys.modules["uvloop"] = None
for name in ("clock_gettime", "CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
    delattr(time, name)
import shop
print(shop.double("a"), shop.Host(shop.app, "127.0.0.1:6379").app_name)
from triggerfish.testing import call_sync
print(call_sync(shop.app, "double", "a").outcome)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.stdout, done.returncode) == ("aa app\nsucceeded\n", 0), done.stderr


@pytest.mark.timeout(600)  # the checkers start without a cache, on a machine that is busy with other tests
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_user_code_is_type_checked(tmp_path: Path, checker: str) -> None:
    """Strict type checkers resolve the public names, keep the types of functions, and find a wrong parameter."""
    (tmp_path / "good.py").write_text(USERS_FILE)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = Path(sys.executable).with_name(checker)
    # Its cache is that of `make lint`: without one, mypy takes a minute to check the libraries.
    cached = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    options = ["--strict", *cached] if checker == "mypy" else ["--pythonpath", sys.executable]
    if checker == "pyright":
        (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')

    def check(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *options, name], cwd=tmp_path, capture_output=True, text=True, timeout=5 * SECONDS, check=False
        )

    good = check("good.py")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "RedisMessage" in good.stdout
    assert "bool" in good.stdout
    assert '"int' in good.stdout.replace("builtins.", "")
    wrong = check("wrong.py")
    assert wrong.returncode == 1, wrong.stdout + wrong.stderr
    assert "batch_size" in wrong.stdout
