"""The testing guide: its example tests pass."""

import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import DOCS, named_files

SECONDS = 100


def test_they_pass(tmp_path: Path) -> None:
    """All of the guide's tests pass against the guide's app."""
    files = named_files(DOCS / "how-to" / "testing.md")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cloudcoil", "."]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout
