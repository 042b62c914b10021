"""Targets of triggers and apps, and how the number of instances follows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.evaluation.target import app_target, instances_for
from scaler.local.scaling_behavior import ScalingBehavior

#: A step of a scenario: the time, the trigger's target, whether it is active, and the expected number of instances.
Step = tuple[float, int, bool, int]


@pytest.mark.parametrize(
    ("backlog", "target"), [(0, 0), (1, 1), (99, 1), (100, 1), (101, 2), (199, 2), (200, 2), (201, 3), (1000, 10)]
)
def test_a_target_is_the_backlog_divided_by_messages_per_worker(backlog: int, target: int) -> None:
    """The target is the backlog divided by 100 messages per worker, rounded up."""
    assert instances_for(backlog, 100) == target


@given(st.integers(0, 10**24), st.integers(1, 10**12))
def test_a_target_is_the_smallest_sufficient_number(backlog: int, per_worker: int) -> None:
    """The target's instances can take the whole backlog and one fewer cannot, for numbers of any size."""
    target = instances_for(backlog, per_worker)
    assert target * per_worker >= backlog
    assert target == 0 or (target - 1) * per_worker < backlog


@pytest.mark.parametrize(("targets", "expected"), [([2, 5], 5), ([5, 2], 5), ([0, 0], 0), ([3], 3), ([], 0)])
def test_the_target_of_an_app_is_its_largest(targets: list[int], expected: int) -> None:
    """The target of an app is the largest of its triggers' targets, and 0 without any."""
    assert app_target(targets) == expected


SCENARIOS: dict[str, tuple[ScalingBehavior, list[Step]]] = {
    "up at once, in one step": (ScalingBehavior(0, 10, 30, 10), [(0, 0, False, 0), (1, 7, True, 7), (1.1, 9, True, 9)]),
    "never above max": (ScalingBehavior(0, 4, 30, 10), [(0, 99, True, 4), (1, 5, True, 4)]),
    "never below min": (ScalingBehavior(2, 4, 0, 0), [(0, 0, False, 2), (100, 0, False, 2)]),
    "min wins over a smaller target": (ScalingBehavior(2, 4, 0, 0), [(0, 1, True, 2)]),
    "down only when the window has passed": (
        ScalingBehavior(0, 10, 0, 10),
        [(0, 6, True, 6), (5, 2, True, 6), (10, 2, True, 6), (10.5, 2, True, 2)],
    ),
    "down to the highest of the window, not to the newest": (
        ScalingBehavior(0, 10, 0, 10),
        [(0, 8, True, 8), (4, 5, True, 8), (9, 1, True, 8), (11, 1, True, 5), (14.5, 1, True, 1)],
    ),
    "a peak within the window restarts it": (
        ScalingBehavior(0, 10, 0, 10),
        [(0, 4, True, 4), (8, 1, True, 4), (9, 4, True, 4), (12, 1, True, 4), (18, 1, True, 4), (19.5, 1, True, 1)],
    ),
    "the window never starts instances by itself": (ScalingBehavior(0, 10, 0, 60), [(0, 9, True, 9), (1, 3, True, 3)]),
    "to zero only after the cooldown": (
        ScalingBehavior(0, 10, 30, 0),
        [(0, 3, True, 3), (1, 0, False, 1), (29.9, 0, False, 1), (30, 0, False, 0)],
    ),
    "activity restarts the cooldown": (
        ScalingBehavior(0, 10, 30, 0),
        [(0, 1, True, 1), (20, 0, False, 1), (25, 1, True, 1), (54, 0, False, 1), (55, 0, False, 0)],
    ),
    "at least one instance while active": (ScalingBehavior(0, 10, 0, 0), [(0, 0, True, 1)]),
    "below the activation threshold nothing starts": (
        ScalingBehavior(0, 10, 30, 0),
        [(0, 2, False, 0), (1, 2, False, 0)],
    ),
    "below the activation threshold all instances stop after the cooldown": (
        ScalingBehavior(0, 10, 30, 0),
        [(0, 5, True, 5), (10, 5, False, 5), (30, 5, False, 0)],
    ),
    "to zero at once without a cooldown": (ScalingBehavior(0, 10, 0, 0), [(0, 4, True, 4), (1, 0, False, 0)]),
    "up again right after zero": (ScalingBehavior(0, 10, 0, 60), [(0, 2, True, 2), (1, 0, False, 0), (2, 3, True, 3)]),
}
#: Instances that are left at the start of a step of a scenario, as if the others had crashed.
CRASHED = {("the window never starts instances by itself", 1): 1}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios(name: str) -> None:
    """Instances follow the target with KEDA's activation and cooldown and the HPA's stabilization window."""
    template, steps = SCENARIOS[name]
    behavior = ScalingBehavior(
        template.min_instances, template.max_instances, template.cooldown_seconds, template.stabilization_window_seconds
    )
    running = 0
    for number, (now, target, active, expected) in enumerate(steps):
        running = CRASHED.get((name, number), running)
        running = behavior.wanted(now, running, target, active=active)
        assert running == expected, f"{name}: at {now} s"


def test_a_controller_that_starts_with_running_instances_waits_for_the_cooldown() -> None:
    """The last instance that runs when the controller starts is stopped only after the cooldown."""
    behavior = ScalingBehavior(0, 10, 30, 0)
    assert behavior.wanted(1000, 2, 0, active=False) == 1
    assert behavior.wanted(1029, 1, 0, active=False) == 1
    assert behavior.wanted(1030, 1, 0, active=False) == 0


@given(
    st.integers(0, 5),
    st.integers(5, 9),
    st.lists(st.tuples(st.floats(0, 20), st.integers(0, 20), st.booleans()), max_size=30),
)
def test_the_limits_always_hold(min_instances: int, max_instances: int, history: list[tuple[float, int, bool]]) -> None:
    """For any targets the number of instances stays from min to max, and is at least 1 while active."""
    behavior, now, running = ScalingBehavior(min_instances, max_instances, 5, 5), 0.0, 0
    for seconds, target, active in history:
        now += seconds
        running = behavior.wanted(now, running, target, active=active)
        assert min_instances <= running <= max_instances
        assert not active or running >= 1
