"""The README: it is short, renders on PyPI, and its examples work as shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from readme_renderer import markdown

from scaler.triggers.metadata import read_metadata
from tests.docs.blocks import README, blocks, named_files
from triggerfish.testing.server import Server

MAX_LINES = 150


def test_it_is_short() -> None:
    """The README has at most 150 lines."""
    assert len(README.read_text().splitlines()) <= MAX_LINES


def test_it_renders_on_pypi() -> None:
    """PyPI's renderer accepts the README, which has no relative links and no diagrams that PyPI does not render."""
    text = README.read_text()
    assert markdown.render(text) is not None
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("https://")] == []
    assert "mermaid" not in text


@pytest.mark.releases("valkey-9.1")
def test_the_app_is_checked_and_explained(server: Server, tmp_path: Path) -> None:
    """`triggerfish check` and `explain` accept the app and print a line for each of its functions."""
    (tmp_path / "shop.py").write_text(named_files(README)["shop.py"])
    with server.client() as client:
        client.config_set("notify-keyspace-events", "Ex")  # as the README says
    for command in ("check", "explain"):
        arguments = [sys.executable, "-m", "triggerfish", command, "shop.py", "--connection", server.address]
        ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert all(name in ran.stdout for name in ("handle_order", "settle", "forget"))


def test_the_trigger_for_keda_is_what_manifest_writes(tmp_path: Path) -> None:
    """`triggerfish manifest` writes the same trigger for the app, and the scaler reads its metadata."""
    (tmp_path / "shop.py").write_text(named_files(README)["shop.py"])
    arguments = [sys.executable, "-m", "triggerfish", "manifest", "shop.py"]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
    _, scaled_object = yaml.safe_load_all(ran.stdout)
    [shown] = [yaml.safe_load(block) for block in blocks(README, "yaml")]
    assert shown in scaled_object["spec"]["triggers"]
    assert read_metadata(shown["metadata"]).function == "handle_order"
