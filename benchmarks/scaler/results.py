"""What the benchmark found, as it is written to JSON. Times are in ms unless the name says otherwise."""

from dataclasses import dataclass, field

__all__ = ["About", "Activation", "Answering", "Memory", "PerEvaluation", "RedisCost", "Results"]


@dataclass(frozen=True)
class About:
    """Where and when."""

    date: str
    machine: str
    load_before: float
    versions: dict[str, str]


@dataclass(frozen=True)
class PerEvaluation:
    """What Redis spends on one evaluation of one ScaledObject; CPU is None where it is too little to be measured."""

    commands: float
    bytes: float
    cpu_microseconds: float | None


@dataclass(frozen=True)
class Answering:
    """How the scaler answers polls of so many ScaledObjects, `in_flight` of them at a time; `quantiles` are the p50 and
    p99 of each call, `failures` polls by the status of the call that failed, `redis` what an evaluation costs there.
    """

    scaled_objects: int
    at_once: bool
    in_flight: int
    polls: int
    failures: dict[str, int]
    calls_per_second: float
    quantiles: dict[str, tuple[float, float]]
    scaler_cpu_per_poll: float
    redis: PerEvaluation


@dataclass(frozen=True)
class RedisCost:
    """Ours beside KEDA's own redis scalers, for the same keys in the same run; `reads`: lists, streams or all."""

    reads: str
    ours: Answering
    keda: PerEvaluation


@dataclass(frozen=True)
class Activation:
    """From an entry to `true`, and what is spent while nothing happens. No quantiles: all were missed, or failed.

    `polls_meanwhile`: p50 and p99 of GetMetrics while the streams are open.
    """

    scaled_objects: int
    notifications: bool
    samples: int
    missed: int
    quantiles: tuple[float, float] | None
    polls_meanwhile: tuple[float, float] | None
    opening_seconds: float
    idle_redis_commands_per_second: float
    idle_scaler_cpu_percent: float


@dataclass(frozen=True)
class Memory:
    """RSS of a scaler in bytes: at rest, and when so many ScaledObjects were polled or, `streaming`, have a stream."""

    scaled_objects: int
    streaming: bool
    at_rest: int
    then: int

    @property
    def each(self) -> float:
        """Bytes for each ScaledObject."""
        return (self.then - self.at_rest) / self.scaled_objects


@dataclass
class Results:
    """All of it."""

    about: About
    answering: list[Answering] = field(default_factory=list)
    redis: list[RedisCost] = field(default_factory=list)
    activation: list[Activation] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    #: What did not end in its time, and is missing above.
    unfinished: list[str] = field(default_factory=list)
