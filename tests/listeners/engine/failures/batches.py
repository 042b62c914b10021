"""Batch functions of which some entries fail."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.support.trigger_kinds import payload_of
from triggerfish import BatchError, RedisMessage

__all__ = ["SIX", "batch_function", "no_stock"]

SIX = ["0", "1", "2", "3", "4", "5"]


def no_stock(payload: str) -> ValueError:
    """Return an exception that was raised, with its traceback."""
    try:
        raise ValueError(f"no stock of {payload}")  # noqa: TRY301
    except ValueError as error:
        return error


def batch_function(
    calls: list[list[str]], reasons: Callable[[list[str], RedisMessage], Mapping[int, BaseException]], *, is_async: bool
) -> Callable[..., Any]:
    """Return a batch function that records its payloads, and raises the reasons for them if there are any."""

    def handle(messages: list[RedisMessage]) -> None:
        payloads = [payload_of(message) for message in messages]
        calls.append(payloads)
        if found := reasons(payloads, messages[0]):
            raise BatchError(found)

    async def on_batch(messages: list[RedisMessage]) -> None:
        handle(messages)

    def on_batch_in_thread(messages: list[RedisMessage]) -> None:
        handle(messages)

    on_batch_in_thread.__name__ = "on_batch"
    return on_batch if is_async else on_batch_in_thread
