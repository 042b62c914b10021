"""How many entries are asked for."""

from listeners.engine.appetite import Appetite

MEGABYTE = 1_000_000


def test_a_late_answer_halves_what_is_asked_for() -> None:
    """After each reply that did not arrive in time, half as many entries are asked for, at least one."""
    appetite = Appetite(10)
    asked = []
    for _ in range(5):
        asked.append(appetite.count(10, 100 * MEGABYTE))
        appetite.timed_out(asked[-1])
    assert asked == [10, 5, 2, 1, 1]


def test_more_is_asked_for_step_by_step() -> None:
    """Answers in time raise the number slowly, up to the capacity, as each reply that is too large costs a time-out."""
    appetite = Appetite(10)
    appetite.timed_out(4)
    asked = []
    for _ in range(40):
        asked.append(appetite.count(10, 100 * MEGABYTE))
        appetite.answered(1, 1)
    assert asked == sorted(asked)
    assert asked[:5] == [2] * 5
    assert set(asked) == set(range(2, 11))


def test_no_answer_teaches_nothing() -> None:
    """An empty answer does not show that a full one would come in time."""
    appetite = Appetite(10)
    appetite.timed_out(10)
    appetite.answered(0, 0)
    assert appetite.count(10, 100 * MEGABYTE) == 5


def test_large_entries_are_asked_for_in_bounds() -> None:
    """After large entries, only as many are asked for as fit, but always one."""
    appetite = Appetite(100)
    appetite.answered(1, MEGABYTE)
    assert appetite.count(100, 7 * MEGABYTE) == 7
    assert appetite.count(100, 10) == 1
    assert appetite.count(0, 7 * MEGABYTE) == 0


def test_sizes_are_forgotten_when_entries_become_small() -> None:
    """Once entries are small again, many are asked for again."""
    appetite = Appetite(100)
    appetite.answered(1, MEGABYTE)
    for _ in range(40):
        appetite.answered(1, 1)
    assert appetite.count(100, 7 * MEGABYTE) == 100


def test_the_first_entries_may_be_large() -> None:
    """Before the first answer, no more are asked for than fit if each has a quarter of a megabyte."""
    appetite = Appetite(100)
    assert appetite.count(100, 7 * 1024 * 1024) == 28
    appetite.answered(1, 1)
    assert appetite.count(100, 7 * 1024 * 1024) == 100
