"""The generated pages are current."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel

import triggerfish
import triggerfish.testing
from listeners.connections.settings import ConnectionSettings
from scaler.settings import Settings
from tests.docs.generated import GENERATED
from tests.docs.python_api import MEMBERS
from tests.docs.reference import FOLDER


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_a_generated_page_is_current(page: Path) -> None:
    """Every generated page equals the output of its generator."""
    assert page.read_text() == GENERATED[page](), "run `make reference`"


def test_every_setting_is_documented() -> None:
    """Every setting has a line, with its environment variable and a meaning."""
    rows = (FOLDER / "settings.md").read_text().splitlines()
    for path in _settings(Settings, ""):
        variable = f"TRIGGERFISH_{path.replace('.', '__').upper()}"
        [row] = [row for row in rows if row.startswith(f"| `{path}` | `{variable}` |")]
        assert row.split(" | ")[3].strip(" |")


def _settings(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Return the dotted names of all settings; those of one connection stand for all connections."""
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        section = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if section is None or name == "connection":  # which has the options of a named one
            yield f"{prefix}{name}"
        else:
            yield from _settings(section, f"{prefix}{name}.{'NAME.' if section is ConnectionSettings else ''}")


@pytest.mark.parametrize("module", [triggerfish, triggerfish.testing], ids=lambda module: module.__name__)
def test_every_public_name_is_documented(module: ModuleType) -> None:
    """Every name that is exported has a section with a text, and so has each member that is public."""
    sections = re.split(r"^### ", (FOLDER / "python.md").read_text(), flags=re.MULTILINE)
    for name in module.__all__:
        [section] = [section for section in sections if section.startswith(f"`{name}`\n")]
        parts = re.split(r"^\*\*`\w+(?:\(\))?`\*\*$", section.partition("\n")[2], flags=re.MULTILINE)
        assert len(parts) == 1 + len(MEMBERS.get(name, ()))
        for part in parts:
            assert re.sub(r"```py\n.*?```", "", part, flags=re.DOTALL).strip()
