"""The backlog of a trigger, by key."""

from dataclasses import dataclass

from scaler.measuring.lag import Lag

__all__ = ["Backlog", "KeyBacklog", "KeySample"]


@dataclass(frozen=True)
class KeyBacklog:
    """The backlog of one key: a list's `length` and `in_flight`, or a stream's `length`, `pending` and `lag`."""

    key: str
    length: int
    in_flight: int = 0
    pending: int = 0
    lag: Lag | None = None

    @property
    def entries(self) -> int:
        """The number of unfinished entries."""
        return self.length + self.in_flight if self.lag is None else self.pending + self.lag.entries


@dataclass(frozen=True)
class KeySample:
    """The backlog of one key, and when it was measured (time.monotonic)."""

    backlog: KeyBacklog
    taken_at: float


@dataclass(frozen=True)
class Backlog:
    """The backlog of a trigger, by key."""

    keys: tuple[KeyBacklog, ...]

    @property
    def entries(self) -> int:
        """The number of unfinished entries over all keys."""
        return sum(key.entries for key in self.keys)

    @property
    def is_list(self) -> bool:
        """Whether it is the backlog of lists. Redis reports every change of a list, but not what a group has done."""
        return all(key.lag is None for key in self.keys)

    @property
    def capped(self) -> bool:
        """Whether counting was cut short for any key: `entries` is then a lower bound."""
        return any(key.lag is not None and key.lag.capped for key in self.keys)
