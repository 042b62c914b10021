"""A lease kept as a Lease object of Kubernetes, for apps that run in a cluster.

The algorithm is that of client-go's leader election. Each write names the version that was read, and the API server
rejects it if another write came first. A lease is taken over when its record has not changed for its duration on this
process's own clock, so the clocks of other machines do not matter.

The package `kubernetes` takes 40 MB, so it is imported only here, and only when a lease is created.
"""

import asyncio
import hashlib
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from listeners.errors import (
    AccessDeniedError,
    CommandRefusedError,
    ConfigurationError,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
)
from listeners.leases.lease import KUBERNETES_STANDBY_SECONDS, Lease
from listeners.runtime.clock import boot_seconds, lease_end
from listeners.runtime.extras import require_extra

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiException, CoordinationV1Api, V1Lease, V1LeaseSpec


__all__ = ["KubernetesLease", "lease_name", "open_kubernetes_lease", "wants_kubernetes"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: The timeout of one request; a third of the lease time if that is shorter.
REQUEST_SECONDS = 3.0
#: The longest DNS label, in characters.
MAX_NAME_LENGTH = 63
HTTP_UNAUTHORIZED, HTTP_FORBIDDEN, HTTP_CONFLICT = 401, 403, 409
#: The setting that selects leases in Kubernetes, and what to do where they cannot be used.
FIELD = "host.pubsub_lease"
USE_REDIS = "set host.pubsub_lease=redis for every instance"
Choice = Literal["auto", "redis", "kubernetes"]


def wants_kubernetes(choice: Choice) -> bool:
    """Return whether to keep leases in Kubernetes. `auto`: if this process runs in a cluster with a service account."""
    if choice == "auto":
        return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and (SERVICE_ACCOUNT / "token").is_file()
    return choice == "kubernetes"


def lease_name(app_name: str, function_name: str) -> str:
    """Return the name of the Lease of an app's function: a DNS label, different for each function."""
    digest = hashlib.sha256(f"{app_name}\0{function_name}".encode("utf-8", "surrogateescape")).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9]+", "-", f"triggerfish-{app_name}-{function_name}".lower())
    return f"{readable[: MAX_NAME_LENGTH - len(digest) - 1].strip('-')}-{digest}"


def open_kubernetes_lease(app_name: str, function_name: str, holder: str, ttl_seconds: float) -> "KubernetesLease":
    """Return the lease of an app's function in this cluster. It connects on first use.

    Raises ConfigurationError if the package is not installed or the process does not run in a cluster.
    """
    require_extra("kubernetes", FIELD, "kubernetes", alternative=f"Or {USE_REDIS}.")
    try:
        api, namespace = cluster_api(), (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except OSError as error:
        raise _unusable(f"The pod's namespace cannot be read ({error.strerror}). Mount the service account") from None
    return KubernetesLease(api, namespace, lease_name(app_name, function_name), holder, ttl_seconds)


def cluster_api() -> "CoordinationV1Api":
    """Return a client for leases in the cluster that this process runs in. Raises ConfigurationError outside one."""
    from kubernetes.aio import client, config  # noqa: PLC0415  (see above)

    configuration = client.Configuration()
    try:
        config.load_incluster_config(configuration)
    except config.ConfigException as error:
        reason = str(error).rstrip(".")
        raise _unusable(f"This process is not in a pod with a service account ({reason}). Mount its token") from None
    return client.CoordinationV1Api(client.ApiClient(configuration))


def _unusable(fix: str) -> ConfigurationError:
    return ConfigurationError(FIELD, "kubernetes", f"{fix}, or {USE_REDIS}.")


class KubernetesLease(Lease):
    """The right to subscribe for one function, kept as a Lease in a namespace.

    `holder` is the name of this instance. Others take over `ttl_seconds` after they last saw the Lease change. This
    side counts from before it sent the change. The Lease's leaseTransitions are the epoch.
    """

    def __init__(
        self, api: "CoordinationV1Api", namespace: str, name: str, holder: str, ttl_seconds: float
    ) -> None:  # fmt: skip
        self._api = api
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._ttl_seconds = ttl_seconds
        self._timeout_seconds = min(REQUEST_SECONDS, ttl_seconds / 3)
        self._ends_at = 0.0
        self._written: V1Lease | None = None
        self._record: object = None
        self._changed_at = 0.0
        self._requested = False
        self.epoch = 0
        self.retry_seconds = KUBERNETES_STANDBY_SECONDS

    @property
    def held(self) -> bool:
        """Whether a call may start now."""
        return boot_seconds() < self._ends_at

    @property
    def remaining_seconds(self) -> float:
        """How long a call may still start, unless the lease is renewed."""
        return max(0.0, self._ends_at - boot_seconds())

    async def describe(self) -> str:
        """Read the Lease and return where it is. Raises SourceError."""
        await self._read()
        return f"the Kubernetes lease {self._namespace}/{self._name}"

    async def acquire(self) -> bool:
        """Acquire or renew the lease. Return False if another instance holds it, or if another write came first."""
        self._requested = True
        if self.held and self._written is not None and await self._write(self._written):
            return True
        lease = await self._read()
        if lease is None:
            return await self._create()
        self._observe(lease)
        wait_seconds = self._seconds_to_wait(_spec(lease))
        if wait_seconds > 0:
            self._ends_at, self._written = 0.0, None
            self.retry_seconds = min(KUBERNETES_STANDBY_SECONDS, wait_seconds)
            return False
        return await self._write(lease)

    async def release(self) -> bool:
        """Clear the Lease's holder, so that the next standby that reads it acquires it.

        Does nothing if the lease was never requested.
        """
        self._ends_at, self._written = 0.0, None
        lease = await self._read() if self._requested else None
        if lease is None or _spec(lease).holder_identity != self._holder:
            return False
        spec = _spec(lease)
        spec.holder_identity, spec.lease_duration_seconds = "", 1
        spec.renew_time = spec.acquire_time = _now()
        return await self._replace(lease) is not None

    async def close(self) -> None:
        """Disconnect."""
        await self._api.api_client.close()

    def _seconds_to_wait(self, spec: "V1LeaseSpec") -> float:
        """Return how much longer the Lease must stay unchanged before it may be taken over; 0 or less means now."""
        if spec.holder_identity in {None, "", self._holder}:
            return 0.0
        return self._changed_at + (spec.lease_duration_seconds or self._ttl_seconds) - boot_seconds()

    def _observe(self, lease: "V1Lease") -> None:
        """Record when the Lease's record was seen to change. Changes of the object's metadata do not count."""
        record = _spec(lease).to_dict()
        if record != self._record:
            self._record, self._changed_at = record, boot_seconds()

    async def _read(self) -> "V1Lease | None":
        with self._translated("get"):
            async with asyncio.timeout(self._timeout_seconds):
                return await self._api.read_namespaced_lease(
                    self._name, self._namespace, _request_timeout=self._timeout_seconds
                )
        return None

    async def _create(self) -> bool:
        from kubernetes.aio.client import V1Lease, V1LeaseSpec, V1ObjectMeta  # noqa: PLC0415

        labels = {"app.kubernetes.io/managed-by": "triggerfish"}
        metadata = V1ObjectMeta(name=self._name, namespace=self._namespace, labels=labels)
        lease = V1Lease(
            api_version="coordination.k8s.io/v1", kind="Lease", metadata=metadata, spec=V1LeaseSpec(lease_transitions=0)
        )
        sent_at = self._set_holder(lease)
        with self._translated("create"):
            async with asyncio.timeout(self._timeout_seconds):
                created = await self._api.create_namespaced_lease(
                    self._namespace, lease, _request_timeout=self._timeout_seconds
                )
            return self._granted(created, sent_at)
        return False

    async def _write(self, lease: "V1Lease") -> bool:
        """Acquire or renew the Lease, unless it has changed since it was read."""
        sent_at = self._set_holder(lease)
        replaced = await self._replace(lease)
        if replaced is None:
            self._written = None
            return False
        return self._granted(replaced, sent_at)

    async def _replace(self, lease: "V1Lease") -> "V1Lease | None":
        with self._translated("update"):
            async with asyncio.timeout(self._timeout_seconds):
                return await self._api.replace_namespaced_lease(
                    self._name, self._namespace, lease, _request_timeout=self._timeout_seconds
                )
        return None

    def _set_holder(self, lease: "V1Lease") -> float:
        """Write this instance into the Lease as its holder. Return the time (boot_seconds)."""
        spec = _spec(lease)
        ours = spec.holder_identity == self._holder and spec.lease_transitions == self.epoch
        spec.renew_time = _now()
        # The time that was read is written back, in a form that the API server accepts.
        spec.acquire_time = _with_microseconds(spec.acquire_time) if ours and spec.acquire_time else spec.renew_time
        spec.lease_transitions = (spec.lease_transitions or 0) + (0 if ours else 1)
        spec.holder_identity = self._holder
        spec.lease_duration_seconds = math.ceil(self._ttl_seconds)
        return boot_seconds()

    def _granted(self, lease: "V1Lease", sent_at: float) -> bool:
        self._written = lease
        self._observe(lease)
        self.epoch = _spec(lease).lease_transitions or 0
        self._ends_at = lease_end(sent_at, self._ttl_seconds)
        return True

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        """Translate errors of the API into SourceErrors. Suppress conflicts, and for `get` a missing Lease."""
        from aiohttp import ClientError  # noqa: PLC0415  (slow to import, and only needed with kubernetes)
        from kubernetes.aio.client import ApiException  # noqa: PLC0415
        from kubernetes.aio.config import ConfigException  # noqa: PLC0415

        doing = f"{verb} lease {self._namespace}/{self._name}"
        try:
            yield
        except ApiException as error:
            if error.status != HTTP_CONFLICT and (verb, error.status) != ("get", 404):
                raise self._source_error(error, doing) from error
        except TimeoutError as error:
            raise SourceTimeoutError(f"{doing}: the Kubernetes API did not answer in time") from error
        except (ClientError, OSError, ConfigException) as error:
            raise SourceUnavailableError(f"{doing}: {str(error) or type(error).__name__}") from error
        except ValueError as error:
            raise CommandRefusedError(f"{doing}: not a valid response of the Kubernetes API") from error

    def _source_error(self, error: "ApiException", doing: str) -> SourceError:
        status: int = error.status or 0
        if status == HTTP_UNAUTHORIZED:
            return AccessDeniedError(
                f"{doing}: the Kubernetes API does not accept the pod's token (401). It has expired, or its service "
                f"account was deleted. Check that the kubelet renews it (a projected volume), and restart the pod, or "
                f"{USE_REDIS}"
            )
        if status == HTTP_FORBIDDEN:
            return AccessDeniedError(
                f"{doing}: the Kubernetes API denied the request (403). Bind the pod's service account to a Role "
                f"in namespace {self._namespace} with apiGroups: [coordination.k8s.io], resources: [leases], "
                f"verbs: [get, create, update], or {USE_REDIS}"
            )
        if status == 429 or status >= 500:
            return SourceUnavailableError(f"{doing}: the Kubernetes API is unavailable ({status} {error.reason})")
        return CommandRefusedError(f"{doing}: the Kubernetes API rejected the request ({status} {error.reason})")


def _spec(lease: "V1Lease") -> "V1LeaseSpec":
    from kubernetes.aio.client import V1LeaseSpec  # noqa: PLC0415

    if lease.spec is None:
        lease.spec = V1LeaseSpec()
    return lease.spec


def _now() -> datetime:
    return _with_microseconds(datetime.now(UTC))


def _with_microseconds(time: datetime) -> datetime:
    """Return the time with microseconds: without them the client omits the fraction, which the API server rejects."""
    return time.replace(microsecond=max(time.microsecond, 1))
