"""Calls without a server have the app's middleware around them, and a context."""

from collections.abc import AsyncIterator

import pytest

from triggerfish import App, Call, CallNext, Context, Reject
from triggerfish.testing import call_sync

app = App("kit")
seen: list[str] = []


@app.lifespan
async def lifespan() -> AsyncIterator[str]:
    raise AssertionError("a call in a test does not enter it")
    yield ""


@app.middleware
async def note(call: Call, call_next: CallNext) -> None:
    seen.append(f"before {call.context.function}")
    try:
        await call_next()
    finally:
        seen.append("after")


@app.list_trigger(keys="orders")
async def handle(order: str, context: Context[str]) -> None:
    seen.append(f"{context.state} {context.key} {order} {context.deliveries}")
    if order == "rejected":
        raise Reject("no")


@app.list_trigger(keys="returns")
def count(order: str, context: Context[str]) -> None:
    context.redis_sync.incr("count")


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def test_middleware_and_the_context() -> None:
    """The middleware runs around the function, whose context has the state that the test gives."""
    assert call_sync(app, handle, "1", state="pool", deliveries=2).succeeded
    assert seen == ["before handle", "pool orders 1 2", "after"]


def test_what_the_function_raises_passes_through() -> None:
    result = call_sync(app, handle, "rejected", state="pool")
    assert result.dead_lettered
    assert seen[-1] == "after"


def test_there_is_no_redis() -> None:
    """A function that uses the trigger's Redis fails with the way to test it."""
    result = call_sync(app, count, "1")
    assert "triggerfish.testing.running()" in result.error
