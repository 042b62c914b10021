"""The results, as they are written to JSON. Times are in ms unless a name states another unit."""

from dataclasses import dataclass, field

__all__ = ["About", "Activation", "Answering", "ManyKeys", "Memory", "PerEvaluation", "RedisCost", "Results"]


@dataclass(frozen=True)
class About:
    """The date, the machine and the versions of a run."""

    date: str
    machine: str
    load_before: float
    versions: dict[str, str]


@dataclass(frozen=True)
class PerEvaluation:
    """What Redis spends on one evaluation of one ScaledObject; CPU is None where it is too little to measure."""

    commands: float
    bytes: float
    cpu_microseconds: float | None


@dataclass(frozen=True)
class Answering:
    """How the scaler answers polls of `scaled_objects` ScaledObjects, `in_flight` of them concurrently.

    `quantiles` are the p50 and p99 of each call, `failures` the failed polls by status, and `redis` the cost of an
    evaluation for Redis.
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
    """The cost of Triggerfish's scaler and of KEDA's redis scalers for the same keys in the same run.

    `reads` is lists, streams or all.
    """

    reads: str
    ours: Answering
    keda: PerEvaluation


@dataclass(frozen=True)
class Activation:
    """Activation latency, and what is spent while all triggers are idle.

    `by_tracking`: Redis reported changes; otherwise the triggers were polled, because the scaler's user may not use
    client tracking. `quantiles` is None if every activation was missed, and `bare` are those of a bare client with
    tracking. `polls_meanwhile` are the p50 and p99 of GetMetrics while the streams are open, or None if every poll
    failed.
    """

    scaled_objects: int
    by_tracking: bool
    samples: int
    missed: int
    quantiles: tuple[float, float] | None
    bare: tuple[float, float]
    polls_meanwhile: tuple[float, float] | None
    opening_seconds: float
    idle_redis_commands_per_second: float
    idle_scaler_cpu_percent: float


@dataclass(frozen=True)
class Memory:
    """RSS of a scaler in bytes: at rest, and `then`, after all ScaledObjects were polled or, if `streaming`, opened
    their streams.
    """

    scaled_objects: int
    streaming: bool
    at_rest: int
    then: int

    @property
    def each(self) -> float:
        """The number of bytes per ScaledObject."""
        return (self.then - self.at_rest) / self.scaled_objects


@dataclass(frozen=True)
class ManyKeys:
    """Client tracking without gRPC: `keys` that one connection watches.

    `arming_seconds` is how long it took to read all of them, and the bytes are what they take in the process and in
    Redis. `quantiles` are the p50 and p99 of the time from RPUSH to the report.
    """

    keys: int
    arming_seconds: float
    process_bytes: int
    redis_bytes: int
    samples: int
    quantiles: tuple[float, float]


@dataclass
class Results:
    """The results of one run."""

    about: About
    answering: list[Answering] = field(default_factory=list)
    redis: list[RedisCost] = field(default_factory=list)
    activation: list[Activation] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    many_keys: list[ManyKeys] = field(default_factory=list)
    #: Measurements that exceeded their time limit and are missing above.
    unfinished: list[str] = field(default_factory=list)
