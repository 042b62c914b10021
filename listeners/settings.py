"""Settings of a function host."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["HostSettings"]


class HostSettings(BaseModel):
    """How a host runs functions.

    The lease of list and stream entries is long enough to survive a garbage collection pause or a slow network, and
    bounds how long the entries of a killed process wait. The pub/sub lease is shorter, because messages are lost while
    the lease of a killed process runs out.
    """

    model_config = ConfigDict(extra="forbid")

    lease_seconds: float = Field(
        default=30.0,
        ge=1.0,
        le=3600,
        description="how long list and stream entries in progress stay leased without renewal, in seconds",
    )
    pubsub_lease_seconds: float = Field(
        default=10.0,
        ge=1.0,
        le=3600,
        description="how long an instance keeps a pub/sub lease without renewal, in seconds",
    )
    pubsub_lease: Literal["auto", "redis", "kubernetes"] = Field(
        default="auto",
        description="where pub/sub leases are kept, the same for every instance of an app; auto: in Kubernetes if the "
        "process runs in a cluster with a service account token, else in Redis",
    )
    grace_period_seconds: float = Field(
        default=25.0,
        ge=0,
        le=3600,
        description="time for functions to finish after SIGTERM, in seconds (by default, Kubernetes kills after 30 s)",
    )
    max_model_bytes: int = Field(
        default=2 * 1024 * 1024,
        ge=1,
        le=512 * 1024 * 1024,
        description="size of an entry, in bytes, above which a function that takes a dict, a pydantic model or a "
        "dataclass rejects it: validation cannot be interrupted, and takes a multiple of the entry's memory",
    )
    http_port: int | None = Field(
        default=None, ge=0, le=65535, description="port for /metrics, /livez and /readyz; not served by default"
    )
    # Probes come from outside.
    http_host: str = Field(default="0.0.0.0", description="address that http_port is bound to")  # noqa: S104
