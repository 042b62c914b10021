"""Generate the table in the chart's README from the comments in values.yaml, and the settings in the schema from their
declarations in the code.

`python -m tests.charts.reference` writes both files.
"""

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from listeners.functions.triggers import MAX_MESSAGES_PER_WORKER
from listeners.settings import HostSettings
from scaler.queues.libraries import QUEUE_TYPES
from scaler.settings import ScalerSettings
from scaler.triggers.metadata import MAX_NUMBER
from tests.charts.rendering import CHART

__all__ = ["GENERATED", "readme_with_table", "schema_with_settings", "undocumented"]

README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
VALUES = CHART / "values.yaml"

BEGIN, END = "<!-- values: python -m tests.charts.reference -->", "<!-- end of values -->"
MAX_DEFAULT = 60

#: Settings that the chart controls, so they are not in the schema.
ADDRESSES = {"http_host", "http_port", "grace_period_seconds"}
SETTINGS: dict[str, tuple[type[BaseModel], set[str]]] = {
    "scalerSettings": (ScalerSettings, {*ADDRESSES, "grpc_host", "grpc_port", "peers", "tls"}),
    "hostSettings": (HostSettings, {*ADDRESSES, "pubsub_lease"}),
}


def readme_with_table() -> str:
    """Return the README with the table generated from the comments in values.yaml."""
    rows = [f"| `{path}` | {_default(path)} | {text} |" for path, text in _comments()]
    table = "\n".join(("| value | default | |", "|---|---|---|", *rows))
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table}\n{END}", README.read_text(), flags=re.DOTALL)


def schema_with_settings() -> str:
    """Return the schema with the settings of the scaler and the hosts."""
    schema = json.loads(SCHEMA.read_text())
    for name, (model, controlled) in SETTINGS.items():
        properties = model.model_json_schema()["properties"]
        schema["$defs"][name]["properties"] = {
            field: _without(properties[field], "title", "default") for field in properties if field not in controlled
        }
    schema["$defs"]["queue"] = _queue_schema()
    return json.dumps(schema, indent=2) + "\n"


def _queue_schema() -> dict[str, Any]:
    """Return the schema of a queue of another library: its types, and the parameters of all of them."""
    fields = {name: field for cls in QUEUE_TYPES.values() for name, field in cls.model_fields.items()}
    text = {"type": "string"}
    special: dict[str, dict[str, Any]] = {
        "queue": {"type": ["string", "array"], "items": text},
        "messages_per_worker": {"type": "integer", "minimum": 1, "maximum": MAX_MESSAGES_PER_WORKER},
        "priority_steps": {"type": ["string", "array"], "items": {"type": "integer", "minimum": 0, "maximum": 999}},
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "type": {"enum": sorted(cls.type_name for cls in QUEUE_TYPES.values())},
            **{
                to_camel(name): special.get(name, {"type": "boolean"} if field.annotation is bool else text)
                for name, field in sorted(fields.items())
                if name != "connection_string"
            },
            "activationMessages": {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER},
            "maxInstances": {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER},
        },
    }


GENERATED = {README: readme_with_table, SCHEMA: schema_with_settings}


def undocumented() -> list[str]:
    """Return the values without a comment on themselves or on a value that contains them."""
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


def _leaves(values: dict[str, Any], parent: str = "") -> Iterator[str]:
    for key, value in values.items():
        path = f"{parent}.{key}" if parent else key
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path


def _comments() -> Iterator[tuple[str, str]]:
    """Yield the path of each value that has a `# --` comment, and the comment."""
    path: list[str] = []
    comment: list[str] = []
    for line in VALUES.read_text().splitlines():
        start = re.fullmatch(r" *# -- (.*)", line)
        continuation = re.fullmatch(r" *# (.*)", line)
        key = re.match(r"( *)(\w+):", line)
        if start:
            comment = [start[1]]
        elif continuation and comment:
            comment.append(continuation[1])
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


def _without(mapping: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def main() -> None:
    """Write the files."""
    for path, generate in GENERATED.items():
        path.write_text(generate())


if __name__ == "__main__":
    main()
