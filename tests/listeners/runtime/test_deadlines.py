"""One timer for many items with equal time limits."""

import asyncio

from listeners.runtime.deadlines import Deadlines
from tests.support.waiting import eventually


async def test_expired_items_are_reported_in_order() -> None:
    """Each item that exceeds its deadline is reported once; an item that was removed in time is not."""
    expired: list[str] = []
    deadlines = Deadlines[str](0.05, expired.append)
    for name in ("first", "removed", "second"):
        deadlines.add(name)
    deadlines.remove("removed")
    await eventually(lambda: expired == ["first", "second"])
    deadlines.add("third")
    await eventually(lambda: expired == ["first", "second", "third"])


async def test_each_item_has_its_own_deadline() -> None:
    """An item that was added later expires later."""
    expired: list[str] = []
    deadlines = Deadlines[str](0.2, expired.append)
    deadlines.add("first")
    await asyncio.sleep(0.1)
    deadlines.add("second")
    await eventually(lambda: expired)
    assert expired == ["first"]
    await eventually(lambda: expired == ["first", "second"])


async def test_nothing_expires_after_close() -> None:
    """No item expires after close()."""
    expired: list[str] = []
    deadlines = Deadlines[str](0.01, expired.append)
    deadlines.add("first")
    deadlines.close()
    await asyncio.sleep(0.03)
    assert expired == []
