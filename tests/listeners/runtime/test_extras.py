"""Extras: a missing package is an error that names the extra to install."""

import sys

import pytest

from listeners.errors import MissingExtraError
from listeners.runtime.extras import MODULES, require_extra
from tests.docs.blocks import ROOT


@pytest.mark.parametrize(
    ("extra", "module"), [(extra, module) for extra, modules in MODULES.items() for module in modules]
)
def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, extra: str, module: str) -> None:
    """Each package of an extra is required, and the error names the field, the value and the command that installs."""
    require_extra(extra, "triggerfish up")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        require_extra(extra, "host.pubsub_lease", "kubernetes", alternative="Or set another.")
    assert str(caught.value) == (
        "invalid host.pubsub_lease 'kubernetes': It needs packages that are not installed: "
        f"pip install 'triggerfish[{extra}]'. Or set another."
    )


def test_every_extra_exists() -> None:
    """The extras are declared in pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in text for extra in MODULES)
