"""What an operator may set on a function host, with units, defaults and the reasons for them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["HostSettings"]


class HostSettings(BaseModel):
    """How functions are run.

    The lease of lists and streams is long enough for a garbage collection pause or a slow network, and bounds how long
    the entries of a killed process wait. The lease of pub/sub is shorter: while it runs out, messages are missed.
    """

    model_config = ConfigDict(extra="forbid")

    lease_seconds: float = Field(
        default=30.0,
        ge=1.0,
        le=3600,
        description="how long entries in hand stay reserved without a sign of life",
    )
    pubsub_lease_seconds: float = Field(
        default=10.0,
        ge=1.0,
        le=3600,
        description="how long a silent holder keeps a pub/sub subscription to itself",
    )
    pubsub_lease: Literal["auto", "redis", "kubernetes"] = Field(
        default="auto",
        description="where the leases of pub/sub are, the same for every instance of an app; auto: in Kubernetes "
        "if the process runs in a cluster and has a service account's token, else in Redis",
    )
    grace_period_seconds: float = Field(
        default=25.0,
        ge=0,
        le=3600,
        description="how long functions may go on after SIGTERM (Kubernetes kills at 30 s)",
    )
    http_port: int | None = Field(
        default=None, ge=0, le=65535, description="port for /metrics, /livez and /readyz; none by default"
    )
    http_host: str = Field(default="0.0.0.0", description="address for it")  # noqa: S104  (probes come from outside)
