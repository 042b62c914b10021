"""Parse YAML that anybody may have written."""

from typing import Any

import yaml

__all__ = ["parse_yaml", "parse_yaml_document"]


def parse_yaml(text: str) -> list[Any]:
    """Return all documents in a text. Raises ValueError with the reason, in one line, if it does not parse.

    PyYAML raises other errors than its own too: for a date such as 2021-99-99, a number such as `!!int ""`, or lists
    nested a thousand times.
    """
    try:
        return list(yaml.safe_load_all(text))
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(reason) from None


def parse_yaml_document(text: str) -> Any:
    """Return the only document in a text, or None if it is empty. Raises ValueError like parse_yaml."""
    found = parse_yaml(text)
    if len(found) > 1:
        raise ValueError("it has more than one document")
    return found[0] if found else None
