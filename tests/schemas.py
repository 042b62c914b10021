"""What Kubernetes and KEDA accept, from their own schemas."""

from collections.abc import Iterable, Mapping
from typing import Any

import kubernetes_validate
from cloudcoil.models.keda.v1alpha1 import ScaledObject

__all__ = ["KUBERNETES", "check_object", "check_objects"]

#: The oldest release that is looked at, and the newest.
KUBERNETES = ("1.27", "1.37")


def check_objects(objects: Iterable[Mapping[str, Any]]) -> None:
    """Raises an error for the first object that its schema does not allow, or not with these fields."""
    for one in objects:
        check_object(one)


def check_object(given: Mapping[str, Any]) -> None:
    """Raises kubernetes_validate.ValidationError or ValueError for what the schema does not allow."""
    if given["apiVersion"].startswith("keda.sh/"):
        _check_keda(given)
        return
    for version in KUBERNETES:
        kubernetes_validate.validate(dict(given), version, strict=True)


def _check_keda(given: Mapping[str, Any]) -> None:
    if given["kind"] != "ScaledObject":
        raise ValueError(f"{given['kind']}: there is no schema for it")
    # The models pass over fields that they do not know: what they give back must be what they were given.
    understood = ScaledObject.model_validate(given).model_dump(mode="json", by_alias=True, exclude_unset=True)
    if understood != given:
        raise ValueError(f"KEDA understands {understood} of {given}")
