"""How many entries are asked for."""

from listeners.engine.appetite import Appetite
from listeners.functions.entries import Entry

MEGABYTE = 1_000_000


def test_a_late_answer_halves_what_is_asked_for_and_an_answer_in_time_doubles_it() -> None:
    """After time-outs ever fewer entries are asked for, at least one; then more again, up to the capacity."""
    appetite = Appetite(10)
    asked = []
    for _ in range(5):
        asked.append(appetite.count(10, 100 * MEGABYTE))
        appetite.timed_out(asked[-1])
    assert asked == [10, 5, 2, 1, 1]
    asked = []
    for _ in range(5):
        appetite.answered([Entry("q", payload=b"x")])
        asked.append(appetite.count(10, 100 * MEGABYTE))
    assert asked == [2, 4, 8, 10, 10]


def test_no_answer_teaches_nothing() -> None:
    """An empty answer does not show that a full one would come in time."""
    appetite = Appetite(10)
    appetite.timed_out(10)
    appetite.answered([])
    assert appetite.count(10, 100 * MEGABYTE) == 5


def test_large_entries_are_asked_for_in_bounds() -> None:
    """After large entries, only as many are asked for as fit, but always one."""
    appetite = Appetite(100)
    appetite.answered([Entry("q", payload=b"x" * MEGABYTE)])
    assert appetite.count(100, 7 * MEGABYTE) == 7
    assert appetite.count(100, 10) == 1
    assert appetite.count(0, 7 * MEGABYTE) == 0


def test_sizes_are_forgotten_when_entries_become_small() -> None:
    """Once entries are small again, many are asked for again."""
    appetite = Appetite(100)
    appetite.answered([Entry("q", payload=b"x" * MEGABYTE)])
    for _ in range(40):
        appetite.answered([Entry("q", payload=b"x")])
    assert appetite.count(100, 7 * MEGABYTE) == 100


def test_the_first_entries_are_expected_to_be_large() -> None:
    """Before the first answer, no more are asked for than fit if each has a megabyte."""
    appetite = Appetite(100)
    assert appetite.count(100, 7 * 1024 * 1024) == 7
    appetite.answered([Entry("q", payload=b"x")])
    assert appetite.count(100, 7 * 1024 * 1024) == 100
