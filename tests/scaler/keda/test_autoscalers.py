"""The HPAs that KEDA made: which ones scale, and what is wrong with the others."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from listeners.errors import ConfigurationError
from scaler.keda.autoscalers import Autoscalers
from scaler.keda.call_report import UnusableError
from tests.charts.control_plane import CPU, TOKEN, ControlPlane, control_plane

HPA = "keda-hpa-shop"
METRIC = "triggerfish-list-0123"
GOOD = {"type": "External", "external": {"metric": {"name": f"s0-{METRIC}"}}}


@pytest.fixture
async def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ControlPlane]:
    """A control plane that this process finds, as a pod does, and that need not become right."""
    monkeypatch.setattr("scaler.keda.autoscalers.WAIT_SECONDS", 0)
    async with control_plane(tmp_path) as running:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(running.port))
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        (tmp_path / "ca.crt").write_bytes(running.authority.certificate)
        yield running


def hpa(*metrics: dict[str, Any], **scaling_active: str) -> dict[str, Any]:
    """Return an HPA with these metrics, and a condition if there is one."""
    conditions = [{"type": "AbleToScale", "status": "True"}]
    if scaling_active:
        conditions.append({"type": "ScalingActive", "status": "False", **scaling_active})
    return {"spec": {"metrics": list(metrics)}, "status": {"conditions": conditions}}


@pytest.mark.parametrize("found", [hpa(GOOD), hpa(CPU, GOOD), hpa(GOOD, reason="ScalingDisabled")])
async def test_an_hpa_that_scales(plane: ControlPlane, tmp_path: Path, found: dict[str, Any]) -> None:
    """An HPA with the metric scales. Scaling is disabled while there are no replicas, as it should be."""
    plane.hpas[HPA] = found
    assert await Autoscalers(tmp_path).check("triggerfish", HPA, METRIC) == f"{HPA} scales by it"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, ("there is no HPA keda-hpa-shop", "kubectl describe scaledobject")),
        (hpa(CPU), ("scales by cpu", "kubectl delete hpa keda-hpa-shop")),
        (hpa(), ("scales by nothing",)),
        (hpa({"type": "External", "external": {"metric": {"name": "s0-triggerfish-list-9"}}}), (METRIC, "list-9")),
        (hpa(GOOD, reason="FailedGetExternalMetric", message="no such host"), ("FailedGetExternalMetric", "no such")),
    ],
)
async def test_an_hpa_that_does_not_scale(
    plane: ControlPlane, tmp_path: Path, found: dict[str, Any] | None, words: tuple[str, ...]
) -> None:
    """Each reason is named, with what to do."""
    if found is not None:
        plane.hpas[HPA] = found
    with pytest.raises(UnusableError) as caught:
        await Autoscalers(tmp_path).check("triggerfish", HPA, METRIC)
    assert all(word in str(caught.value) for word in words), caught.value


async def test_an_api_server_that_denies(plane: ControlPlane, tmp_path: Path) -> None:
    """The status is reported, without the token."""
    (tmp_path / "token").write_text("hunter2")
    with pytest.raises(UnusableError, match="answered 401") as caught:
        await Autoscalers(tmp_path).check("triggerfish", HPA, METRIC)
    assert "hunter2" not in str(caught.value)


async def test_an_api_server_that_is_not_trusted(plane: ControlPlane, tmp_path: Path) -> None:
    """The API server's certificate is verified."""
    (tmp_path / "ca.crt").write_bytes(ControlPlane().authority.certificate)
    with pytest.raises(UnusableError, match="cannot be reached"):
        await Autoscalers(tmp_path).check("triggerfish", HPA, METRIC)


def test_outside_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variables that every pod has, and without a token, there is nothing to read."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match=r"--service-account.*KUBERNETES_SERVICE_HOST"):
        Autoscalers(tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ConfigurationError, match=r"--service-account.*token or ca.crt cannot be read"):
        Autoscalers(tmp_path)
