"""Decides how many instances to run for a target, as KEDA and the HPA do."""

from collections import deque
from dataclasses import dataclass, field

__all__ = ["ScalingBehavior"]


@dataclass
class ScalingBehavior:
    """Follows a target with the semantics of KEDA and the HPA.

    Scales up at once, to at most `max_instances`. Scales down to the highest target of the last
    `stabilization_window_seconds`, and to zero only if no trigger was active for `cooldown_seconds` (KEDA's
    cooldownPeriod). Never goes below `min_instances`.
    """

    min_instances: int
    max_instances: int
    cooldown_seconds: float
    stabilization_window_seconds: float
    _recent: deque[tuple[float, int]] = field(default_factory=deque)
    _active_at: float | None = None

    def wanted(self, now: float, running: int, target: int, *, active: bool) -> int:
        """Return how many instances to run. `now` is in seconds, on a monotonic clock."""
        self._recent.append((now, target))
        while now - self._recent[0][0] > self.stabilization_window_seconds:
            self._recent.popleft()
        if active or self._active_at is None:
            self._active_at = now
        stable = max(recent for _, recent in self._recent)
        wanted = target if target >= running else min(running, stable)
        awake = active or (running > 0 and now - self._active_at < self.cooldown_seconds)
        # Below the activation threshold nothing runs, regardless of the target.
        wanted = max(wanted, 1) if awake else 0
        return min(max(wanted, self.min_instances), self.max_instances)
