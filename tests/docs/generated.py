"""The generated files of the documentation and their generators."""

from collections.abc import Callable
from pathlib import Path

from tests.docs.layers import layers_svg
from tests.docs.reference import FOLDER, PAGES

__all__ = ["GENERATED"]

GENERATED: dict[Path, Callable[[], str]] = {**PAGES, FOLDER.parent / "explanation" / "layers.svg": layers_svg}
