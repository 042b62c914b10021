"""A lease that is a Lease object of Kubernetes, for apps that run in a cluster.

The algorithm is that of client-go's leader election. Whoever writes names the version that it has read, and the API
server refuses it if another one was quicker. A lease is taken over when its record has not changed for its duration
on this process's own clock: what the clocks of other machines say does not matter.

The package `kubernetes` takes 40 MB, so it is imported when a lease is made, and only here.
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
from listeners.leases.lease import Lease
from listeners.runtime.clock import boot_seconds, lease_end

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiException, CoordinationV1Api, V1Lease, V1LeaseSpec


__all__ = ["KubernetesLease", "lease_name", "open_kubernetes_lease", "wants_kubernetes"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: How often an instance that stands by reads the lease: seldom enough for the API server, within a second of a release.
STANDBY_SECONDS = 0.75
#: The longest that one request may take; a third of the lease if that is shorter.
REQUEST_SECONDS = 3.0
#: A DNS label has 63 characters at most.
MAX_NAME = 63
HTTP_CONFLICT = 409
Choice = Literal["auto", "redis", "kubernetes"]


def wants_kubernetes(choice: Choice) -> bool:
    """Whether leases are to be in Kubernetes. `auto`: if this process runs in a cluster, with a service account."""
    if choice == "auto":
        return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and (SERVICE_ACCOUNT / "token").is_file()
    return choice == "kubernetes"


def lease_name(app_name: str, function_name: str) -> str:
    """The name of the Lease of an app's function: a DNS label, different for different functions."""
    digest = hashlib.sha256(f"{app_name}\0{function_name}".encode("utf-8", "surrogateescape")).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9]+", "-", f"triggerfish-{app_name}-{function_name}".lower())
    return f"{readable[: MAX_NAME - len(digest) - 1].strip('-')}-{digest}"


def open_kubernetes_lease(app_name: str, function_name: str, holder: str, ttl_seconds: float) -> "KubernetesLease":
    """The lease of an app's function in this cluster. Connects when it is first used.

    Raises ConfigurationError if the package is not installed, or this is no cluster.
    """
    try:
        api, namespace = cluster_api(), (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except ImportError:
        raise _cannot("The package kubernetes is not installed: pip install 'triggerfish[kubernetes]'") from None
    except OSError as error:
        raise _cannot(f"The pod's namespace cannot be read ({error.strerror}): mount the service account") from None
    return KubernetesLease(api, namespace, lease_name(app_name, function_name), holder, ttl_seconds)


def cluster_api() -> "CoordinationV1Api":
    """The API for leases in the cluster that this process runs in. Raises ImportError or ConfigurationError."""
    from kubernetes.aio import client, config  # noqa: PLC0415  (see above)

    configuration = client.Configuration()
    try:
        config.load_incluster_config(configuration)
    except config.ConfigException as error:
        raise _cannot(f"This is no pod with a service account ({str(error).rstrip('.')}): mount its token") from None
    return client.CoordinationV1Api(client.ApiClient(configuration))


def _cannot(why: str) -> ConfigurationError:
    return ConfigurationError("host.pubsub_lease", "kubernetes", f"{why}, or set host.pubsub_lease=redis everywhere.")


class KubernetesLease(Lease):
    """The right to subscribe for one function, as a Lease in a namespace.

    `holder` names this instance. `ttl_seconds`: others take over so long after they last saw it change; this side
    counts from before it sent the change. The Lease's leaseTransitions are the epoch.
    """

    def __init__(
        self, api: "CoordinationV1Api", namespace: str, name: str, holder: str, ttl_seconds: float
    ) -> None:  # fmt: skip
        self._api = api
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._ttl_seconds = ttl_seconds
        self._bound_seconds = min(REQUEST_SECONDS, ttl_seconds / 3)
        self._ends_at = 0.0
        self._written: V1Lease | None = None
        self._record: object = None
        self._changed_at = 0.0
        self.epoch = 0
        self.retry_seconds = STANDBY_SECONDS

    @property
    def held(self) -> bool:
        """Whether a call may be started now."""
        return boot_seconds() < self._ends_at

    async def describe(self) -> str:
        """Read the Lease, and say where it is. Raises SourceError."""
        await self._read()
        return f"the Kubernetes lease {self._namespace}/{self._name}"

    async def acquire(self) -> bool:
        """Acquire or renew it; a conflict means that it is not ours this time."""
        if self.held and self._written is not None and await self._write(self._written):
            return True
        lease = await self._read()
        if lease is None:
            return await self._create()
        self._observe(lease)
        wait_seconds = self._seconds_to_wait(_spec(lease))
        if wait_seconds > 0:
            self._ends_at, self._written = 0.0, None
            self.retry_seconds = min(STANDBY_SECONDS, wait_seconds)
            return False
        return await self._write(lease)

    async def release(self) -> bool:
        """Leave the Lease without a holder, so that the next one that looks acquires it."""
        self._ends_at, self._written = 0.0, None
        lease = await self._read()
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
        """How long the Lease must not change before it may be taken over; 0 or less: now."""
        if spec.holder_identity in {None, "", self._holder}:
            return 0.0
        return self._changed_at + (spec.lease_duration_seconds or self._ttl_seconds) - boot_seconds()

    def _observe(self, lease: "V1Lease") -> None:
        """Take note of when the record was seen to change. What others write to the object's metadata is no change."""
        record = _spec(lease).to_dict()
        if record != self._record:
            self._record, self._changed_at = record, boot_seconds()

    async def _read(self) -> "V1Lease | None":
        with self._translated("get"):
            async with asyncio.timeout(self._bound_seconds):
                return await self._api.read_namespaced_lease(
                    self._name, self._namespace, _request_timeout=self._bound_seconds
                )
        return None

    async def _create(self) -> bool:
        from kubernetes.aio.client import V1Lease, V1LeaseSpec, V1ObjectMeta  # noqa: PLC0415

        labels = {"app.kubernetes.io/managed-by": "triggerfish"}
        metadata = V1ObjectMeta(name=self._name, namespace=self._namespace, labels=labels)
        lease = V1Lease(
            api_version="coordination.k8s.io/v1", kind="Lease", metadata=metadata, spec=V1LeaseSpec(lease_transitions=0)
        )
        sent_at = self._sign(lease)
        with self._translated("create"):
            async with asyncio.timeout(self._bound_seconds):
                created = await self._api.create_namespaced_lease(
                    self._namespace, lease, _request_timeout=self._bound_seconds
                )
            return self._granted(created, sent_at)
        return False

    async def _write(self, lease: "V1Lease") -> bool:
        """Make a Lease ours, or renew it, if nobody has changed it since it was read."""
        sent_at = self._sign(lease)
        replaced = await self._replace(lease)
        if replaced is None:
            self._written = None
            return False
        return self._granted(replaced, sent_at)

    async def _replace(self, lease: "V1Lease") -> "V1Lease | None":
        with self._translated("update"):
            async with asyncio.timeout(self._bound_seconds):
                return await self._api.replace_namespaced_lease(
                    self._name, self._namespace, lease, _request_timeout=self._bound_seconds
                )
        return None

    def _sign(self, lease: "V1Lease") -> float:
        """Write ourselves into a Lease as its holder; when (boot_seconds)."""
        spec = _spec(lease)
        ours = spec.holder_identity == self._holder and spec.lease_transitions == self.epoch
        spec.renew_time = _now()
        # What was read goes back as it was, but in a form that the API server reads.
        spec.acquire_time = _readable(spec.acquire_time) if ours and spec.acquire_time else spec.renew_time
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
        """Turn errors of the API into SourceErrors; a conflict, and a Lease that is not there to get, into nothing."""
        from aiohttp import ClientError  # noqa: PLC0415  (slow to import, and needed where kubernetes is)
        from kubernetes.aio.client import ApiException  # noqa: PLC0415
        from kubernetes.aio.config import ConfigException  # noqa: PLC0415

        what = f"{verb} lease {self._namespace}/{self._name}"
        try:
            yield
        except ApiException as error:
            if error.status != HTTP_CONFLICT and (verb, error.status) != ("get", 404):
                raise self._meaning(error, what) from error
        except TimeoutError as error:
            raise SourceTimeoutError(f"{what}: no answer from the Kubernetes API in time") from error
        except (ClientError, OSError, ConfigException) as error:
            raise SourceUnavailableError(f"{what}: {str(error) or type(error).__name__}") from error
        except ValueError as error:
            raise CommandRefusedError(f"{what}: the answer is not that of a Kubernetes API") from error

    def _meaning(self, error: "ApiException", what: str) -> SourceError:
        status: int = error.status or 0
        if status in {401, 403}:
            return AccessDeniedError(
                f"{what}: the Kubernetes API denies it ({status}). Bind the pod's service account to a Role in "
                f"namespace {self._namespace} with apiGroups: [coordination.k8s.io], resources: [leases], "
                "verbs: [get, create, update]; or set host.pubsub_lease=redis for every instance"
            )
        if status == 429 or status >= 500:
            return SourceUnavailableError(f"{what}: the Kubernetes API cannot serve now ({status} {error.reason})")
        return CommandRefusedError(f"{what}: the Kubernetes API refuses it ({status} {error.reason})")


def _spec(lease: "V1Lease") -> "V1LeaseSpec":
    from kubernetes.aio.client import V1LeaseSpec  # noqa: PLC0415

    if lease.spec is None:
        lease.spec = V1LeaseSpec()
    return lease.spec


def _now() -> datetime:
    return _readable(datetime.now(UTC))


def _readable(time: datetime) -> datetime:
    """A time with microseconds: without them the client leaves the fraction out, which the API server refuses."""
    return time.replace(microsecond=max(time.microsecond, 1))
