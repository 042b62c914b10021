"""Writes what follows from elsewhere: the README's table from the comments of values.yaml, and the settings in the
schema from the settings' own declarations. Run as a module, it writes both files.
"""

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from listeners.settings import HostSettings
from scaler.settings import ScalerSettings
from tests.charts.rendering import CHART

__all__ = ["DERIVED", "readme_with_table", "schema_with_settings", "undocumented"]

README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
VALUES = CHART / "values.yaml"

BEGIN, END = "<!-- values: python -m tests.charts.reference -->", "<!-- end of values -->"
MAX_DEFAULT = 60

#: What the chart itself decides.
ADDRESSES = {"http_host", "http_port", "grace_period_seconds"}
SETTINGS: dict[str, tuple[type[BaseModel], set[str]]] = {
    "scalerSettings": (ScalerSettings, {*ADDRESSES, "grpc_host", "grpc_port", "tls"}),
    "hostSettings": (HostSettings, {*ADDRESSES, "pubsub_lease"}),
}


def readme_with_table() -> str:
    """The README with the table that the comments of values.yaml make."""
    rows = [f"| `{path}` | {_default(path)} | {text} |" for path, text in _comments()]
    table = "\n".join(("| value | default | |", "|---|---|---|", *rows))
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table}\n{END}", README.read_text(), flags=re.DOTALL)


def schema_with_settings() -> str:
    """The schema with the settings that the scaler and hosts have."""
    schema = json.loads(SCHEMA.read_text())
    for name, (model, decided) in SETTINGS.items():
        properties = model.model_json_schema()["properties"]
        schema["$defs"][name]["properties"] = {
            field: _without(properties[field], "title", "default") for field in properties if field not in decided
        }
    return json.dumps(schema, indent=2) + "\n"


DERIVED = {README: readme_with_table, SCHEMA: schema_with_settings}


def undocumented() -> list[str]:
    """Values that have no comment of their own, nor one for what they are in."""
    documented = [path for path, _ in _comments()]
    return [
        path
        for path in _leaves(_values())
        if not any(path == known or path.startswith(f"{known}.") for known in documented)
    ]


@functools.cache
def _values() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(VALUES.read_text())
    return values


def _leaves(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        path = f"{above}.{key}" if above else key
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path


def _comments() -> Iterator[tuple[str, str]]:
    """The path of each value that has a `# --` comment, and the comment."""
    path: list[str] = []
    comment: list[str] = []
    for line in VALUES.read_text().splitlines():
        begins = re.fullmatch(r" *# -- (.*)", line)
        goes_on = re.fullmatch(r" *# (.*)", line)
        key = re.match(r"( *)(\w+):", line)
        if begins:
            comment = [begins[1]]
        elif goes_on and comment:
            comment.append(goes_on[1])
        elif key:
            path = [*path[: len(key[1]) // 2], key[2]]
            if comment:
                yield ".".join(path), " ".join(comment)
            comment = []


def _default(path: str) -> str:
    value: Any = _values()
    for key in path.split("."):
        value = value[key]
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    if value in (None, "", {}, []):
        return ""
    return f"`{text}`" if len(text) <= MAX_DEFAULT else "see values.yaml"


def _without(given: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in keys}


def main() -> None:
    """Write the files."""
    for path, derive in DERIVED.items():
        path.write_text(derive())


if __name__ == "__main__":
    main()
