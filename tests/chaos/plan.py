"""The size and pace of a run."""

from dataclasses import dataclass

__all__ = ["FULL", "SHORT", "Plan"]


@dataclass(frozen=True)
class Plan:
    """The size of a run. Pauses are ranges of seconds between two faults."""

    entries: int
    hosts: int
    #: Duration of production without outages; faults are injected during all of it.
    seconds: float
    messages_per_second: float
    lease_seconds: float
    pubsub_lease_seconds: float
    host_pause_seconds: tuple[float, float]
    server_pause_seconds: tuple[float, float]
    stop_seconds: tuple[float, float]
    #: Number of takeovers of the pub/sub lease by SIGKILL, and again by SIGTERM, after the faults.
    takeovers: int
    #: After the last fault, the leftovers must change at least this often until there are none.
    stuck_seconds: float
    #: How often each fault is injected; None repeats faults until everything is produced.
    rounds: int | None = None


FULL = Plan(100_000, 4, 100.0, 100.0, 3.0, 2.0, (1.5, 4.0), (0.5, 3.0), (1.0, 6.0), 4, 45.0)
SHORT = Plan(2_000, 2, 3.0, 50.0, 1.0, 1.0, (0.5, 1.5), (0.05, 0.2), (0.3, 1.0), 0, 45.0, rounds=1)
