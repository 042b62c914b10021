"""Tracebacks of what a user's code raises have frames of users and of libraries, and none of Triggerfish."""

import json
import logging
import traceback
from collections.abc import Callable
from typing import Annotated, Any, cast

import pytest
import redis.asyncio
from pydantic import AfterValidator

from listeners.errors import Retry
from listeners.keys import dead_letters_key
from listeners.runtime.code_locations import OWN_PACKAGES, raised_at, without_own_frames
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App, BatchError, Call, CallNext, Context
from triggerfish.testing import call
from triggerfish.testing.server import Server


def frames(error: BaseException) -> list[str]:
    """Return the functions of a traceback, outermost first. None is ours."""
    found = traceback.extract_tb(error.__traceback__)
    assert not [frame for frame in found if frame.filename.startswith(OWN_PACKAGES)]
    return [frame.name for frame in found]


def fails(text: str) -> None:
    """Raise an error in a library, which causes another one."""
    try:
        json.loads(text)
    except ValueError as error:
        raise LookupError(text) from error


async def on_loop(text: str) -> None:
    fails(text)


def on_thread(text: str) -> None:
    fails(text)


async def with_context(text: str, context: Context) -> None:
    fails(text)


async def of_batch(texts: list[str]) -> None:
    fails(texts[0])


def in_part(texts: list[str]) -> None:
    try:
        fails(texts[0])
    except LookupError as error:
        raise BatchError({0: error}) from None


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("function", [on_loop, on_thread, with_context, of_batch])
async def test_calls(function: Callable[..., Any], middleware: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The user's function or middleware is outermost, also in the log. The cause keeps the frames of its library."""
    app = App("shop")

    async def around(call: Call, call_next: CallNext) -> None:
        await call_next()

    if middleware:
        app.middleware(around)
        app.middleware(around)
    app.list_trigger(keys="q")(function)
    result = await call(app, function, "{")
    assert isinstance(result.exception, LookupError)
    expected = [*(["around", "around"] if middleware else []), function.__name__, "fails"]
    assert frames(result.exception) == expected
    assert isinstance(result.exception.__cause__, ValueError)
    assert frames(result.exception.__cause__) == ["fails", "loads", "decode", "raw_decode"]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[1] is result.exception
    assert "listeners/" not in caplog.text.replace("tests/listeners/", "")


async def test_some_entries_of_a_batch() -> None:
    """The reasons that a batch gives."""
    app = App("shop")
    app.list_trigger(keys="q")(in_part)
    result, _ = await call(app, in_part, ["{", "x"])
    assert isinstance(result.exception, LookupError)
    assert frames(result.exception) == ["in_part", "fails"]


async def test_a_conversion_by_the_users_code() -> None:
    """A validator is the user's. What our code rejects has no frames."""
    app = App("shop")

    async def checked(number: Annotated[int, AfterValidator(lambda _: fails("{"))]) -> None: ...

    app.list_trigger(keys="q")(checked)
    raised, rejected = await call(app, checked, "5"), await call(app, checked, "x")
    assert isinstance(raised.exception, LookupError)
    assert frames(raised.exception)[-1] == "fails"
    assert rejected.exception is not None
    assert rejected.exception.__traceback__ is None


def test_a_group() -> None:
    """Members of a group, and causes of a member."""

    def raised(error: BaseException) -> BaseException:
        result = without_own_frames(error)
        with pytest.raises(type(error)) as caught:
            raise result
        return caught.value

    member = raised(ValueError("member"))
    member.__cause__ = raised(KeyError("cause"))
    group = without_own_frames(raised(BaseExceptionGroup("group", [member])))
    assert [frames(one) for one in (group, member, member.__cause__)] == [["raised"]] * 3


def test_a_bug_of_ours_keeps_its_frames() -> None:
    """What Triggerfish raises by mistake keeps its frames. A TriggerfishError says in its text what is wrong."""
    with pytest.raises(AttributeError) as caught:
        raised_at(cast("Any", None), fails)
    assert caught.value.__traceback__ is not None
    bug = caught.value.with_traceback(caught.value.__traceback__.tb_next)
    assert traceback.extract_tb(without_own_frames(bug).__traceback__)
    refused = Retry("later").with_traceback(bug.__traceback__)
    assert without_own_frames(refused).__traceback__ is None


@pytest.mark.releases("valkey-9.1")
async def test_dead_letters(server: Server, client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The traceback that is kept begins with the user's function, and has the chain."""
    app = App("shop")
    app.list_trigger(keys="q", max_deliveries=1)(on_thread)
    await client.rpush("q", "{")
    async with run_host(app):
        await eventually(lambda: client.exists(dead_letters_key("q")))
    [(_, letter)] = await client.execute_command("XRANGE", dead_letters_key("q"), "-", "+")
    kept = letter[b"traceback"].decode()
    assert "in fails" in kept
    assert "json/__init__.py" in kept
    assert "direct cause" in kept
    assert "executor.py" not in kept
