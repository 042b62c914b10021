"""All rendered objects are valid, and every mistake is refused with its fix."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from listeners.version import __version__
from tests.charts.bad_values import BAD_VALUES, BadValues
from tests.charts.reference import GENERATED, undocumented
from tests.charts.rendering import CHART, CI_VALUES, Refused, chart_values, render, render_ci, strict_lint
from tests.support.schemas import problems

CRDS = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1", "cert-manager.io/v1")


@pytest.mark.parametrize("name", CI_VALUES)
def test_every_object_matches_its_schema(name: str) -> None:
    """The schemas of Kubernetes, KEDA, Prometheus Operator and cert-manager accept it, without unknown fields."""
    found = {
        f"{manifest['kind']} {manifest['metadata']['name']}": wrong
        for manifest in render_ci(name).manifests
        if (wrong := problems(manifest))
    }
    assert not found


@pytest.mark.parametrize("name", CI_VALUES)
def test_strict_lint_finds_nothing(name: str) -> None:
    """`helm lint --strict` reports no problems."""
    assert strict_lint(chart_values(name)) == []


@pytest.mark.parametrize("bad", BAD_VALUES, ids=lambda bad: bad.mistake)
def test_a_mistake_is_refused_with_its_fix(bad: BadValues) -> None:
    """The good values are accepted. With the mistake, the error message names the value and gives a fix."""
    render(bad.good)
    with pytest.raises(Refused) as refused:
        render(bad.values)
    assert all(phrase in str(refused.value) for phrase in bad.phrases), refused.value


def test_the_schemas_reject_unknown_fields() -> None:
    """An object with a misspelled field is invalid under every schema."""
    rendered = copy.deepcopy(render_ci("mtls-cert-manager"))
    for kind in ("Service", "ScaledObject", "TriggerAuthentication"):
        manifest = rendered.of(kind)[0]
        manifest["spec"]["misspelled"] = {}
        assert any("misspelled" in problem for problem in problems(manifest)), kind


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path) -> None:
    """The README's table matches values.yaml, and the schema's settings match the settings in the code."""
    assert path.read_text() == GENERATED[path](), "run: python -m tests.charts.reference"


def test_every_value_is_documented_and_in_the_schema() -> None:
    """Every value has a comment, and the schema accepts all defaults."""
    assert undocumented() == []
    render(yaml.safe_load((CHART / "values.yaml").read_text()))


def test_the_example_in_the_readme_renders() -> None:
    """The chart accepts the values in its README."""
    [example] = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.DOTALL)
    assert render(yaml.safe_load(example)).one("ScaledObject", "shop")


def test_the_chart_and_the_package_have_the_same_version() -> None:
    """The chart's version and appVersion are the package's version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_the_notes_warn_about_missing_apis() -> None:
    """Each API that is used and missing gives a warning; if none is missing, there is no warning."""
    values = {**chart_values("mtls-cert-manager"), "monitoring": {"enabled": True}}
    notes = render(values).notes
    assert all(f"no {api}" in notes for api in CRDS)
    assert "WARNING" not in render(values, api_versions=CRDS).notes


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("default", "No connection is configured"),
        ("trial", "never in production"),
        ("trial", "scaler.replicas is below 2"),
        ("trial", "Neither networkPolicy.enabled nor tls.mutual is set"),
        ("mixed", "apps.shop.scaling.minReplicas: 0 is treated as 1"),
    ],
)
def test_the_notes_warn_about_likely_mistakes(name: str, warning: str) -> None:
    """Values that are valid but seldom intended give a warning after the installation."""
    assert warning in render(chart_values(name), api_versions=CRDS).notes
