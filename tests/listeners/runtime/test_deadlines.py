"""One timer for many things that may each take equally long."""

import asyncio

from listeners.runtime.deadlines import Deadlines
from tests.support.waiting import eventually


async def test_those_that_are_late_are_told_of_in_their_order() -> None:
    """Each thing that is still there after its time is told of once; one that has ended is not."""
    late: list[str] = []
    deadlines = Deadlines[str](0.05, late.append)
    for name in ("first", "ended", "second"):
        deadlines.add(name)
    deadlines.remove("ended")
    await eventually(lambda: late == ["first", "second"])
    deadlines.add("third")
    await eventually(lambda: late == ["first", "second", "third"])


async def test_each_has_its_whole_time() -> None:
    """One that was added later is late later."""
    late: list[str] = []
    deadlines = Deadlines[str](0.2, late.append)
    deadlines.add("first")
    await asyncio.sleep(0.1)
    deadlines.add("second")
    await eventually(lambda: late)
    assert late == ["first"]
    await eventually(lambda: late == ["first", "second"])


async def test_nothing_is_late_after_the_end() -> None:
    """close() stops the watching."""
    late: list[str] = []
    deadlines = Deadlines[str](0.01, late.append)
    deadlines.add("first")
    deadlines.close()
    await asyncio.sleep(0.03)
    assert late == []
