"""Render and lint the chart with Helm's own engine.

The engine contains the Go runtime with its threads and signal handlers, so it is loaded only by processes that render.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from helm_python import Chart

__all__ = [
    "CHART",
    "CI_VALUES",
    "Refused",
    "Rendered",
    "chart_values",
    "merged",
    "render",
    "render_ci",
    "render_in_cluster",
    "strict_lint",
]

CHART = Path(__file__).parents[2] / "charts" / "triggerfish"
CI_VALUES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
RELEASE = {"name": "triggerfish", "namespace": "triggerfish"}

Manifest = dict[str, Any]


class Refused(Exception):  # noqa: N818  (refusing is correct behaviour)
    """The chart refused the values. The text is Helm's error message."""


@dataclass(frozen=True)
class Rendered:
    """All objects of a release, and its notes."""

    manifests: tuple[Manifest, ...]
    notes: str

    def of(self, kind: str) -> list[Manifest]:
        """Return the objects of a kind, without those of `helm test`."""
        return [manifest for manifest in self.manifests if manifest["kind"] == kind and not is_test(manifest)]

    def one(self, kind: str, name: str | None = None) -> Manifest:
        """Return the only object of a kind, or the one with this name, including those of `helm test`."""
        named = [
            manifest
            for manifest in self.manifests
            if manifest["kind"] == kind and (name is None or manifest["metadata"]["name"] == name)
        ]
        [found] = named
        return found


def is_test(manifest: Manifest) -> bool:
    """Return whether an object belongs to `helm test`."""
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def chart_values(name: str) -> Manifest:
    """Return the values of a file in ci/."""
    values: Manifest = yaml.safe_load(CI_VALUES[name].read_text())
    return values


def merged(values: Mapping[str, Any], override: Mapping[str, Any]) -> Manifest:
    """Return the values with an override merged into them, as Helm does."""
    result = dict(values)
    for key, value in override.items():
        present = result.get(key)
        result[key] = merged(present, value) if isinstance(present, Mapping) and isinstance(value, Mapping) else value
    return result


def render(
    values: Mapping[str, Any], *, api_versions: tuple[str, ...] = (), kube_version: str | None = None
) -> Rendered:
    """Render the chart. `api_versions` are the cluster's APIs besides those of Kubernetes itself. Raises Refused."""
    from helm_python import HelmError
    from helm_python._native import call_string

    options: dict[str, Any] = {**RELEASE, "api_versions": list(api_versions)}
    if kube_version is not None:
        options["kube_version"] = kube_version
    chart = _chart()
    try:
        chart.validate_schema(dict(values))
        files = json.loads(call_string("helm_render", chart._raw(), json.dumps(values), json.dumps(options)))
    except HelmError as error:
        raise Refused(str(error)) from None
    return _rendered(files)


def render_in_cluster(values: Mapping[str, Any], kubeconfig: str) -> Rendered:
    """Render the chart with `lookup` in the cluster of a kubeconfig (YAML). Raises Refused."""
    from helm_python import Config, HelmError

    try:
        with Config(namespace=RELEASE["namespace"], kubeconfig_content=kubeconfig) as config:
            return _rendered(
                config.render(_chart(), dict(values), name=RELEASE["name"], namespace=RELEASE["namespace"])
            )
    except HelmError as error:
        raise Refused(str(error)) from None


@functools.cache
def render_ci(name: str) -> Rendered:
    """Render the chart with the values of a file in ci/. Tests share the cached result, so do not modify it."""
    return render(chart_values(name))


def strict_lint(values: Mapping[str, Any]) -> list[str]:
    """Return the messages of `helm lint --strict`."""
    from helm_python import lint

    report = lint(CHART, dict(values), strict=True)
    warning = 2
    messages: list[str] = [m["error"] for m in report["messages"] if m["severity"] >= warning]
    return messages + list(report["errors"])


@functools.cache
def _chart() -> "Chart":
    from helm_python import Chart

    return Chart.load(CHART)


def _rendered(files: Mapping[str, str]) -> Rendered:
    notes = next(text for name, text in files.items() if name.endswith("NOTES.txt"))
    return Rendered(tuple(_manifests(files)), notes)


def _manifests(files: Mapping[str, str]) -> Iterator[Manifest]:
    for name, text in sorted(files.items()):
        if not name.endswith("NOTES.txt"):
            yield from (document for document in yaml.load_all(text, _UniqueKeyLoader) if document)


class _UniqueKeyLoader(yaml.CSafeLoader):
    """Rejects duplicate keys, of which YAML parsers silently keep one."""


def _mapping(loader: yaml.CSafeLoader, node: yaml.MappingNode) -> Manifest:
    keys = [key.value for key, _ in node.value]
    duplicates = {key for key in keys if keys.count(key) > 1}
    if duplicates:
        raise yaml.YAMLError(f"duplicate keys: {', '.join(sorted(duplicates))}")
    return {str(key): value for key, value in loader.construct_mapping(node, deep=True).items()}


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
