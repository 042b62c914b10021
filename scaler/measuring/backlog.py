"""The backlog of a trigger, by key."""

from dataclasses import dataclass

from scaler.measuring.lag import Lag

__all__ = ["Backlog", "Jobs", "KeyBacklog", "KeySample"]


@dataclass(frozen=True)
class Jobs:
    """The jobs of a queue of another library besides those that wait or are in progress.

    `due` jobs wait to be moved to the others. `scheduled` ones do not count before their time has come, for the next
    one at `next_due_at` (Unix time). In a `paused` queue, only those in progress count. `capped`: not all could be
    counted. `reported`: Redis reports every change of it, as each changes a key that is known.
    """

    due: int = 0
    scheduled: int = 0
    next_due_at: float | None = None
    paused: bool = False
    capped: bool = False
    reported: bool = True


@dataclass(frozen=True)
class KeyBacklog:
    """The backlog of one key or queue: a list's `length` and `in_flight`, or a stream's `length`, `pending` and `lag`,
    or the jobs of a queue of another library: `length` waiting ones, `in_flight` ones in progress, and more `jobs`.
    """

    key: str
    length: int
    in_flight: int = 0
    pending: int = 0
    lag: Lag | None = None
    jobs: Jobs | None = None

    @property
    def entries(self) -> int:
        """The number of unfinished entries."""
        if self.lag is not None:
            return self.pending + self.lag.entries
        if self.jobs is None:
            return self.length + self.in_flight
        return self.in_flight if self.jobs.paused else self.length + self.jobs.due + self.in_flight

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing, not even scheduled jobs."""
        scheduled = self.jobs is not None and (self.jobs.due or self.jobs.scheduled or self.jobs.paused)
        return not (self.length or self.in_flight or scheduled)

    @property
    def capped(self) -> bool:
        """Whether counting was cut short: `entries` is then a lower bound."""
        return (self.lag is not None and self.lag.capped) or (self.jobs is not None and self.jobs.capped)


@dataclass(frozen=True)
class KeySample:
    """The backlog of one key, and when it was measured (time.monotonic)."""

    backlog: KeyBacklog
    taken_at: float


@dataclass(frozen=True)
class Backlog:
    """The backlog of a trigger, by key.

    `unsettled`: nothing was found, but work may be on its way from one key to another, so that it counts as one entry.
    """

    keys: tuple[KeyBacklog, ...]
    unsettled: bool = False

    @property
    def entries(self) -> int:
        """The number of unfinished entries over all keys. A lower bound of 0 would not be known to be 0."""
        return max(sum(key.entries for key in self.keys), 1 if self.capped else 0)

    @property
    def is_list(self) -> bool:
        """Whether Redis reports every change of it, as of lists. It does not report what a group has done."""
        return all(key.lag is None for key in self.keys)

    @property
    def capped(self) -> bool:
        """Whether `entries` is a lower bound."""
        return self.unsettled or any(key.capped for key in self.keys)

    @property
    def changes_unseen(self) -> bool:
        """Whether it may change without a change of a known key."""
        return any(key.jobs is not None and not key.jobs.reported for key in self.keys)

    @property
    def next_due_at(self) -> float | None:
        """When the next scheduled job is due (Unix time), if there is one in a queue that is not paused."""
        times = [key.jobs.next_due_at for key in self.keys if key.jobs is not None and not key.jobs.paused]
        return min((time for time in times if time is not None), default=None)
