"""The guides to workers of other libraries: their triggers can be read, and each library has a page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from scaler.queues.libraries import QUEUE_TYPES
from scaler.triggers.metadata import read_metadata

FOLDER = Path(__file__).parents[2] / "docs" / "how-to" / "queues"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def metadata_in(page: Path) -> Iterator[dict[str, str]]:
    """Yield the metadata of each of our triggers on a page; KEDA's own recipes are not ours."""
    for block in BLOCK.findall(page.read_text()):
        content = yaml.safe_load(block)
        if "kind" in content:
            content = content["spec"]["triggers"][0]
        if "metadata" in content:
            yield content["metadata"]


PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_triggers_of_the_guides(page: Path) -> None:
    """Each is text throughout, as KEDA wants it, and valid."""
    found = list(metadata_in(page))
    assert found
    for metadata in found:
        assert all(isinstance(value, str) for value in metadata.values()), metadata
        read_metadata(metadata)


def test_every_type_is_on_a_page() -> None:
    """Each type is in the overview, and all but those that a page stands for are shown in a trigger."""
    overview = (FOLDER / "index.md").read_text()
    shown = {metadata["type"].lower() for page in PAGES for metadata in metadata_in(page)}
    assert [cls.type_name for cls in QUEUE_TYPES.values() if f"`{cls.type_name}`" not in overview] == []
    assert set(QUEUE_TYPES) - shown == {"beequeue"}
