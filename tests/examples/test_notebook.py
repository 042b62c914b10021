"""The notebook, run cell by cell as Jupyter does."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from triggerfish.testing.server import Server

NOTEBOOK = Path(__file__).parents[2] / "examples" / "embedding" / "notebook.py"


@pytest.mark.releases("valkey-9.1")
async def test_the_notebook(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell runs in an event loop that runs already, and the app has handled both elements."""
    monkeypatch.setenv("TRIGGERFISH_CONNECTION", server.address)
    _, *cells = re.split(r"^# %%", NOTEBOOK.read_text(), flags=re.MULTILINE)
    names: dict[str, object] = {}
    assert len(cells) == 5
    for cell in cells:
        code = compile(f"#{cell}", str(NOTEBOOK), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)  # noqa: S307  (the project's own)
        if inspect.isawaitable(result):
            await result
    assert capsys.readouterr().out == "seen: ['first', 'second']\n"
