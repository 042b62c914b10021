"""The public names: lazy, complete, and typed for users' code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import listeners
import triggerfish

SECONDS = 120
USERS_FILE = """
from triggerfish import App, Host, RedisMessage, Reject, Retry

app = App("shop")


@app.list_trigger(keys="orders", batch_size=50)
async def handle_order(message: RedisMessage) -> None:
    if message.deliveries > 3:
        raise Reject("too often")
    raise Retry("later", after_seconds=1.5)


async def main() -> None:
    host = Host(app)
    await host.run()
    reveal_type(handle_order)
    reveal_type(host.ready)
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
    """`triggerfish` and `listeners` have the same public names, and each can be imported."""
    assert triggerfish.__all__ == listeners.__all__
    assert {name: getattr(triggerfish, name) for name in triggerfish.__all__} == {
        name: getattr(listeners, name) for name in listeners.__all__
    }
    assert dir(triggerfish) == sorted(triggerfish.__all__)


def test_a_name_that_is_not_public() -> None:
    """Another name is an AttributeError."""
    with pytest.raises(AttributeError, match="Appp"):
        _ = triggerfish.Appp  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="Appp"):
        _ = listeners.Appp  # type: ignore[attr-defined]


def test_importing_the_package_imports_nothing_else() -> None:
    """`import triggerfish` costs nothing, and a name loads what it needs and no more."""
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


def test_functions_can_be_imported_where_there_is_no_uvloop_and_no_boot_clock(tmp_path: Path) -> None:
    """As on Windows: an app loads and its functions can be called."""
    (tmp_path / "shop.py").write_text(SIMPLE_APP)
    program = """
import sys, time
sys.modules["uvloop"] = None
for name in ("clock_gettime", "CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
    delattr(time, name)
import shop
print(shop.double("a"), shop.Host(shop.app).app_name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.stdout, done.returncode) == ("aa app\n", 0), done.stderr


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_users_file_is_checked(tmp_path: Path, checker: str) -> None:
    """Strict type checkers see the public names, leave functions as they are, and find a wrong parameter."""
    (tmp_path / "good.py").write_text(USERS_FILE)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = Path(sys.executable).with_name(checker)
    options = ["--strict"] if checker == "mypy" else ["--pythonpath", sys.executable]
    if checker == "pyright":
        (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')

    def check(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *options, name], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    good = check("good.py")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "RedisMessage" in good.stdout
    assert "bool" in good.stdout
    wrong = check("wrong.py")
    assert wrong.returncode == 1, wrong.stdout + wrong.stderr
    assert "batch_size" in wrong.stdout
