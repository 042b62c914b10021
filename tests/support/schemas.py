"""Validates manifests against the schemas of Kubernetes, KEDA, Prometheus Operator and cert-manager."""

import functools
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import kubernetes_validate
import kubernetes_validate.utils
from pydantic import BaseModel, ValidationError

__all__ = ["KUBERNETES", "check_object", "check_objects", "problems"]

#: The oldest release that the chart supports, and the newest.
KUBERNETES = ("1.27", "1.37")

# Cached because it reads a file of several megabytes for every object.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)

#: Modules with the models of other APIs. They are imported on first use because some take seconds.
MODELS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
    "cert-manager.io/v1": "cloudcoil.models.cert_manager.v1",
}


def check_objects(objects: Iterable[Mapping[str, Any]]) -> None:
    """Raise ValueError for the first object that its schema rejects, unknown fields included."""
    for one in objects:
        check_object(one)


def check_object(given: Mapping[str, Any]) -> None:
    """Raise ValueError with everything that the schema rejects."""
    if found := problems(given):
        raise ValueError("; ".join(found))


def problems(manifest: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with an object, by field; empty if it is valid."""
    models = MODELS.get(manifest["apiVersion"])
    if models is None:
        return list(_built_in(manifest))
    return list(_custom(manifest, getattr(importlib.import_module(models), manifest["kind"])))


def _built_in(manifest: Mapping[str, Any]) -> Iterator[str]:
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(dict(manifest), version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(part) for part in error.path)
            yield f"Kubernetes {version}: {where}: {error.message}"


def _custom(manifest: Mapping[str, Any], model: type[BaseModel]) -> Iterator[str]:
    try:
        read = model.model_validate(manifest)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            yield f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        return
    yield from _unknown(manifest, read.model_dump(mode="json", by_alias=True, exclude_unset=True), "")


def _unknown(given: object, read: object, where: str) -> Iterator[str]:
    """Yield unknown fields: the models ignore these, so they are missing in what was `read`."""
    if isinstance(given, Mapping) and isinstance(read, Mapping):
        for key, value in given.items():
            if key not in read:
                yield f"{where}.{key}: unknown field"
            else:
                yield from _unknown(value, read[key], f"{where}.{key}")
    elif isinstance(given, list) and isinstance(read, list):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from _unknown(one, other, f"{where}[{number}]")
