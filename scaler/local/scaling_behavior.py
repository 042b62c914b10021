"""Pace: moved out of another file; say what belongs here."""

from collections import deque
from dataclasses import dataclass, field

__all__ = ["ScalingBehavior"]


@dataclass
class ScalingBehavior:
    """Follows a target with the meanings of KEDA and the HPA.

    Up at once, to `max_instances` at most. Down to the highest target of the last `stabilization_window_seconds`, and
    to zero only when nothing was active for `cooldown_seconds` (KEDA's cooldownPeriod). Never below `min_instances`.
    """

    min_instances: int
    max_instances: int
    cooldown_seconds: float
    stabilization_window_seconds: float
    _recent: deque[tuple[float, int]] = field(default_factory=deque)
    _active_at: float | None = None

    def wanted(self, now: float, running: int, target: int, *, active: bool) -> int:
        """How many instances to run, at a time in seconds on a clock that only goes forward."""
        self._recent.append((now, target))
        while now - self._recent[0][0] > self.stabilization_window_seconds:
            self._recent.popleft()
        if active or self._active_at is None:
            self._active_at = now
        stable = max(recent for _, recent in self._recent)
        wanted = target if target >= running else min(running, stable)
        awake = active or (running > 0 and now - self._active_at < self.cooldown_seconds)
        # Below the activation threshold nothing runs, whatever the target.
        wanted = max(wanted, 1) if awake else 0
        return min(max(wanted, self.min_instances), self.max_instances)
