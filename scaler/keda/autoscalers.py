"""Reads the HPA that KEDA makes of a ScaledObject, from a pod in the cluster."""

import asyncio
import os
import re
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from listeners.errors import ConfigurationError
from scaler.keda.call_report import UnusableError

__all__ = ["Autoscalers"]

#: How long KEDA may take to make an HPA: while the scaler does not answer it makes none, and retries with back-off.
WAIT_SECONDS = 60.0
RETRY_SECONDS = 1.0
REQUEST_SECONDS = 5.0
FOUND, NOT_FOUND = 200, 404
FIELD = "--service-account"


class _NotYetError(UnusableError):
    """The HPA is not right, and may become so by itself."""


class Autoscalers:
    """The HPAs of a cluster, read with the token and the CA of a service account (`folder`).

    Waits at most WAIT_SECONDS in all. Raises ConfigurationError outside a cluster, or if a file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
        if not host or not port:
            fix = "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set. Use it in a pod only."
            raise ConfigurationError(FIELD, str(folder), fix)
        self._url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        try:
            self._token = (folder / "token").read_text().strip()
            self._tls = ssl.create_default_context(cafile=folder / "ca.crt")
        except OSError as error:
            fix = f"Its token or ca.crt cannot be read ({error.strerror or error}). Mount the service account's token."
            raise ConfigurationError(FIELD, str(folder), fix) from None
        self._deadline = time.monotonic() + WAIT_SECONDS

    async def check(self, namespace: str, name: str, metric_name: str) -> str:
        """Wait until an HPA scales by this metric, and return a description. Raises UnusableError if it does not."""
        while True:
            try:
                return _described(await self._read(namespace, name), name, metric_name)
            except _NotYetError:
                if time.monotonic() > self._deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, namespace: str, name: str) -> Mapping[str, Any]:
        url = f"{self._url}/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name}"
        headers = {"Authorization": f"Bearer {self._token}"}
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
                session.get(url, ssl=self._tls) as response,
            ):
                if response.status == NOT_FOUND:
                    raise _NotYetError(
                        f"there is no HPA {name}: KEDA has not accepted the ScaledObject, or it is paused. See "
                        "`kubectl describe scaledobject`"
                    )
                if response.status != FOUND:
                    raise UnusableError(f"the API server answered {response.status} for HPA {name}")
                answer: Mapping[str, Any] = await response.json()
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _NotYetError(f"the API server cannot be reached: {error or 'no answer in time'}") from None


def _described(hpa: Mapping[str, Any], name: str, metric_name: str) -> str:
    """Describe an HPA that scales by a metric of KEDA: its own name for it is sN-METRIC."""
    metrics = hpa.get("spec", {}).get("metrics") or []
    external = [one["external"]["metric"]["name"] for one in metrics if one.get("type") == "External"]
    if not external:
        scales_by = ", ".join(one.get("resource", {}).get("name", one.get("type", "?")) for one in metrics) or "nothing"
        raise UnusableError(
            f"HPA {name} scales by {scales_by}, and nothing will correct it: KEDA before 2.20.2 made it while the "
            f"scaler did not answer. Run `kubectl delete hpa {name}`, and upgrade KEDA"
        )
    if not any(re.fullmatch(rf"s\d+-{re.escape(metric_name)}", one) for one in external):
        raise _NotYetError(f"HPA {name} does not scale by {metric_name}, only by {', '.join(external)}")
    for condition in hpa.get("status", {}).get("conditions") or []:
        inactive = condition["type"] == "ScalingActive" and condition["status"] == "False"
        # Without replicas, scaling is disabled as it should be: KEDA starts the first one.
        if inactive and condition.get("reason") != "ScalingDisabled":
            raise _NotYetError(f"HPA {name} cannot scale: {condition.get('reason')}: {condition.get('message')}")
    return f"{name} scales by it"
