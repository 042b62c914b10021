"""Every shape of the chart is valid, and every mistake is refused with what to do."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger
from listeners.version import __version__
from tests.charts.bad_values import BAD_VALUES, BadValues
from tests.charts.reference import DERIVED, undocumented
from tests.charts.rendering import CHART, CI_VALUES, Refused, chart_values, render, shape, strict_lint
from tests.support.schemas import problems

CRDS = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1", "cert-manager.io/v1")


@pytest.mark.parametrize("name", CI_VALUES)
def test_every_object_of_every_shape_is_as_its_schema_wants_it(name: str) -> None:
    """The schemas of Kubernetes, KEDA, Prometheus Operator and cert-manager accept it, without unknown fields."""
    found = {
        f"{manifest['kind']} {manifest['metadata']['name']}": wrong
        for manifest in shape(name).manifests
        if (wrong := problems(manifest))
    }
    assert not found


@pytest.mark.parametrize("name", CI_VALUES)
def test_helms_linter_is_strict_and_content(name: str) -> None:
    """`helm lint --strict` complains of nothing."""
    assert strict_lint(chart_values(name)) == []


@pytest.mark.parametrize("bad", BAD_VALUES, ids=lambda bad: bad.mistake)
def test_a_mistake_is_refused_with_what_to_do(bad: BadValues) -> None:
    """The good values are accepted; with the mistake, the message names the value and says what to do."""
    render(bad.good)
    with pytest.raises(Refused) as refused:
        render(bad.values)
    assert all(word in str(refused.value) for word in bad.words), refused.value


def test_the_schemas_notice_a_field_that_does_not_exist() -> None:
    """An object with a misspelt field is not valid, whosever schema it is."""
    rendered = copy.deepcopy(shape("mtls-cert-manager"))
    for kind in ("Service", "ScaledObject", "TriggerAuthentication"):
        manifest = rendered.of(kind)[0]
        manifest["spec"]["misspelt"] = {}
        assert any("misspelt" in problem for problem in problems(manifest)), kind


@pytest.mark.parametrize("path", DERIVED, ids=lambda path: path.name)
def test_what_is_derived_is_up_to_date(path: Path) -> None:
    """The README's table and the schema's settings say what values.yaml and the settings say."""
    assert path.read_text() == DERIVED[path](), "run: python -m tests.charts.reference"


def test_every_value_is_documented_and_in_the_schema() -> None:
    """No value is without a comment, and the schema admits every default."""
    assert undocumented() == []
    render(yaml.safe_load((CHART / "values.yaml").read_text()))


def test_the_schema_knows_no_value_that_the_chart_has_not() -> None:
    """What the schema admits at the top, for the scaler and for apps, is in values.yaml."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert schema["properties"].keys() - {"global"} == values.keys()  # Helm adds `global` by itself
    assert schema["$defs"]["scaler"]["properties"].keys() == values["scaler"].keys()
    assert schema["$defs"]["app"]["properties"].keys() == values["appDefaults"].keys()


def test_the_schema_has_the_parameters_of_every_trigger() -> None:
    """What a trigger may have in values is what the trigger has, and what KEDA's metadata has beside."""
    definitions = json.loads((CHART / "values.schema.json").read_text())["$defs"]
    beside = {"type", "activationMessages", "maxInstances"}
    for cls in (ListTrigger, StreamTrigger, PubSubTrigger):
        known = definitions[f"{cls.kind}Trigger"]["properties"].keys() - beside
        assert known == {re.sub("_(.)", lambda match: match[1].upper(), field) for field in cls.model_fields}


def test_the_readmes_values_are_accepted() -> None:
    """What the README shows renders."""
    [example] = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.DOTALL)
    assert render(yaml.safe_load(example)).one("ScaledObject", "shop")


def test_the_chart_and_the_package_have_one_version() -> None:
    """The chart installs this version of the image."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_the_notes_warn_of_what_the_cluster_lacks() -> None:
    """Each API that is used and not there is a warning; none is left where all are there."""
    values = {**chart_values("mtls-cert-manager"), "monitoring": {"enabled": True}}
    lacking = render(values).notes
    assert all(f"no {api}" in lacking for api in CRDS)
    assert "WARNING" not in render(values, api_versions=CRDS).notes


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("default", "There is no connection"),
        ("trial", "never for production"),
        ("trial", "scaler.replicas is below 2"),
        ("trial", "Neither networkPolicy.enabled nor tls.mutual"),
        ("mixed", "apps.shop.scaling.minReplicas: 0 counts as 1"),
    ],
)
def test_the_notes_warn_of_what_is_likely_a_mistake(name: str, warning: str) -> None:
    """What can be meant, but seldom is, is said after the installation."""
    assert warning in render(chart_values(name), api_versions=CRDS).notes
