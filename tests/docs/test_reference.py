"""The generated pages are current."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from listeners.connections.settings import ConnectionSettings
from scaler.settings import Settings
from tests.docs.generated import GENERATED
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
