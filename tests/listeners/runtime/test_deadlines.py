"""One timer for many items with equal time limits."""

import asyncio
import time

from listeners.runtime.deadlines import Deadlines
from tests.support.waiting import eventually


async def test_expired_items_are_reported_in_order() -> None:
    """Each item that exceeds its deadline is reported once; an item that was removed in time is not."""
    expired: list[str] = []
    deadlines = Deadlines[str](0.05, expired.append)
    for name in ("first", "removed", "second"):
        deadlines.add(name, time.perf_counter())
    deadlines.remove("removed")
    await eventually(lambda: expired == ["first", "second"])
    deadlines.add("third", time.perf_counter())
    await eventually(lambda: expired == ["first", "second", "third"])


async def test_each_item_has_its_own_deadline() -> None:
    """An item that was added later does not expire with the first one, but after its own time."""
    expired_at: dict[str, float] = {}
    deadlines = Deadlines[str](0.2, lambda item: expired_at.update({item: time.perf_counter()}))
    began_at = {"first": time.perf_counter()}
    deadlines.add("first", began_at["first"])
    await asyncio.sleep(0.1)
    began_at["second"] = time.perf_counter()
    deadlines.add("second", began_at["second"])
    await eventually(lambda: list(expired_at) == ["first", "second"])
    assert all(expired_at[item] - began_at[item] >= 0.2 for item in began_at)


async def test_an_item_that_is_added_late() -> None:
    """The time from its beginning counts: one whose time is over expires at once, although others have an hour."""
    expired: list[str] = []
    deadlines = Deadlines[str](3600, expired.append)
    deadlines.add("late", time.perf_counter() - 3600)
    await eventually(lambda: expired == ["late"])


async def test_nothing_expires_after_close() -> None:
    """No item expires after close()."""
    expired: list[str] = []
    deadlines = Deadlines[str](0.01, expired.append)
    deadlines.add("first", time.perf_counter())
    deadlines.close()
    await asyncio.sleep(0.03)
    assert expired == []
