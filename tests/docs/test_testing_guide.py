"""The testing guide: its examples are those in examples/testing, and pass."""

import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import DOCS, ROOT, named_files

EXAMPLES = ROOT / "examples" / "testing"
SECONDS = 100


def test_the_examples_are_those_of_the_guide() -> None:
    """Each file of the examples is in the guide, and each block of the guide is in the examples."""
    blocks = named_files(DOCS / "how-to" / "testing.md")
    assert blocks == {file.name: file.read_text() for file in EXAMPLES.glob("*.py")}


def test_they_pass(tmp_path: Path) -> None:
    """All of the examples' tests pass, as they would in a project."""
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:cloudcoil", "-o", "asyncio_mode=auto", "-c", "/dev/null")
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), "."]
    ran = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "10 passed" in ran.stdout
