"""The testing guide: its examples are those in examples/testing, and pass."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, ROOT, named_files
from tests.support.waiting import eventually
from triggerfish import App
from triggerfish.testing import Server

EXAMPLES = ROOT / "examples" / "testing"
EMBEDDED = "embedded.py"
SECONDS = 100


def test_the_examples_are_those_of_the_guide() -> None:
    """Each file of the examples is in the guide, and each block of the guide is in the examples."""
    blocks = named_files(DOCS / "how-to" / "testing.md")
    del blocks[EMBEDDED]
    assert blocks == {file.name: file.read_text() for file in EXAMPLES.glob("*.py")}


def test_they_pass(tmp_path: Path) -> None:
    """All of the examples' tests pass, as they would in a project."""
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:cloudcoil", "-o", "asyncio_mode=auto", "-c", "/dev/null")
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), "."]
    ran = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "9 passed" in ran.stdout


@pytest.mark.releases("valkey-9.1")
async def test_the_embedded_app_runs(server: Server) -> None:
    """An app runs in a program's own event loop, and the function that runs it returns."""
    code: dict[str, object] = {}
    exec(named_files(DOCS / "how-to" / "testing.md")[EMBEDDED], code)  # noqa: S102  (the guide's own)
    run_until = code["run_until"]
    assert callable(run_until)
    app, stopped = App(), asyncio.Event()
    handled: list[str] = []

    @app.list_trigger(keys="q")
    async def handle(element: str) -> None:
        handled.append(element)

    server.client().rpush("q", "x")
    running = asyncio.create_task(run_until(stopped, app, server.address))
    await eventually(lambda: handled)
    stopped.set()
    await asyncio.wait_for(running, 30)
    assert handled == ["x"]
