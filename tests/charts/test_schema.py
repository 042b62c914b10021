"""The schema of the values has the values, the parameters and the bounds of the chart and the code."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from listeners.errors import ConfigurationError
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger
from listeners.settings import HostSettings
from scaler.settings import LocalSettings, ScalerSettings
from scaler.triggers.metadata import read_metadata
from tests.charts.rendering import CHART

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFINITIONS = SCHEMA["$defs"]
TRIGGERS = (ListTrigger, StreamTrigger, PubSubTrigger)
LOWER, UPPER = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
#: The values that become settings of another name.
PASSED: tuple[tuple[dict[str, Any], type[BaseModel], str], ...] = (
    (DEFINITIONS["app"]["properties"]["gracePeriodSeconds"], HostSettings, "grace_period_seconds"),
    (DEFINITIONS["scaler"]["properties"]["gracePeriodSeconds"], ScalerSettings, "grace_period_seconds"),
    (DEFINITIONS["scaling"]["properties"]["cooldownPeriod"], LocalSettings, "cooldown_seconds"),
    *(
        (DEFINITIONS[f"{cls.kind}Trigger"]["properties"][to_camel(field)], cls, field)
        for cls in TRIGGERS
        for field in cls.model_fields
    ),
)


def numbers(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and the schema of every number."""
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if not isinstance(schema, dict):
        return
    types = schema.get("type", [])
    if {"number", "integer"} & {*([types] if isinstance(types, str) else types if isinstance(types, list) else [])}:
        yield path, schema
    for key, value in schema.items():
        yield from numbers(value, f"{path}/{key}")


def bounds(schema: dict[str, Any]) -> dict[str, float]:
    """Return the bounds of a number."""
    return {key: value for key, value in schema.items() if key in LOWER | UPPER}


def test_every_number_has_both_bounds() -> None:
    """A number without bounds is an error of Kubernetes, KEDA or the app after the installation."""
    found = dict(numbers(SCHEMA))
    assert len(found) > 30
    assert [path for path, schema in found.items() if not (LOWER & schema.keys() and UPPER & schema.keys())] == []


def test_numbers_have_the_bounds_of_the_code() -> None:
    """What the chart accepts, the settings and triggers accept, and the reverse."""
    compared = 0
    for schema, model, field in PASSED:
        [(_, number), *_] = [*numbers(model.model_json_schema()["properties"][field]), ("", {})]  # or None
        expected = bounds(number)
        assert bounds(schema) == expected, (model, field)
        compared += bool(expected)
    assert compared == 19


@pytest.mark.parametrize("name", ["activationMessages", "maxInstances"])
@pytest.mark.parametrize("cls", TRIGGERS)
def test_numbers_have_the_bounds_of_the_metadata(
    name: str, cls: type[ListTrigger | StreamTrigger | PubSubTrigger]
) -> None:
    """The scaler accepts both bounds of the schema and no more."""
    schema = DEFINITIONS[f"{cls.kind}Trigger"]["properties"][name]
    keys = {"channel": "c"} if cls is PubSubTrigger else {"keys": "k"}
    for value in (schema["minimum"], schema["maximum"]):
        read_metadata({"type": cls.type_name, **keys, name: str(value)})
    for value in (schema["minimum"] - 1, schema["maximum"] + 1):
        with pytest.raises(ConfigurationError, match=name):
            read_metadata({"type": cls.type_name, **keys, name: str(value)})


def test_the_schema_has_exactly_the_values_of_the_chart() -> None:
    """The schema and values.yaml have the same keys at the top level, for the scaler and for apps."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert SCHEMA["properties"].keys() - {"global"} == values.keys()  # Helm adds `global` by itself
    assert SCHEMA["$defs"]["scaler"]["properties"].keys() == values["scaler"].keys()
    assert SCHEMA["$defs"]["app"]["properties"].keys() == values["appDefaults"].keys()


def test_the_schema_has_the_parameters_of_every_trigger() -> None:
    """A trigger in values accepts the trigger's parameters and the further keys of KEDA's metadata."""
    metadata_only = {"type", "activationMessages", "maxInstances"}
    for cls in TRIGGERS:
        parameters = DEFINITIONS[f"{cls.kind}Trigger"]["properties"].keys() - metadata_only
        assert parameters == {to_camel(field) for field in cls.model_fields}
