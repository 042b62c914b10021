"""Calls a function with entries and tells what became of each."""

import asyncio
import inspect
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from listeners.app import Function
from listeners.errors import Reject
from listeners.messages import Entry, Outcome, Settlement
from listeners.metrics import FunctionMeter
from listeners.outcome import after_failure

__all__ = ["Caller"]

MAX_THREADS = 32


class Caller:
    """Calls one function: on the loop if it is async, else on threads of its own.

    `concurrency` calls at most run at once, bounded for threads by MAX_THREADS.
    """

    def __init__(self, function: Function, meter: FunctionMeter, concurrency: int) -> None:
        self._function = function
        self._meter = meter
        self._threads: ThreadPoolExecutor | None = None
        if not function.binding.is_async:
            self._threads = ThreadPoolExecutor(min(concurrency, MAX_THREADS), thread_name_prefix=function.name)

    async def call(self, entries: Sequence[Entry]) -> list[Settlement]:
        """Call the function once with these entries. Raises CancelledError if the call was cancelled from outside."""
        arguments, settlements = self._arguments(entries)
        if not arguments:
            return settlements
        called = [entry for entry, _ in arguments]
        error = await self._invoke(called, [argument for _, argument in arguments])
        if error is None:
            return settlements + [Settlement(entry, Outcome.SUCCEEDED) for entry in called]
        alone = len(called) == 1
        return settlements + [after_failure(self._function.trigger, entry, error, alone=alone) for entry in called]

    def close(self) -> None:
        """Start no call any more. A thread that runs is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _arguments(self, entries: Sequence[Entry]) -> tuple[list[tuple[Entry, Any]], list[Settlement]]:
        """Convert each entry; one that cannot be converted is given up on and does not hinder the others."""
        arguments: list[tuple[Entry, Any]] = []
        rejected: list[Settlement] = []
        for entry in entries:
            try:
                arguments.append((entry, self._function.binding.convert(entry)))
            except Exception as error:  # noqa: BLE001  (a user's validator may raise anything)
                reason = error if isinstance(error, Reject) else Reject(f"{type(error).__name__}: {error}")
                rejected.append(after_failure(self._function.trigger, entry, reason, alone=True))
        return arguments, rejected

    async def _invoke(self, entries: list[Entry], arguments: list[Any]) -> BaseException | None:
        """Call the handler; what it raised, if anything. Only a cancellation that came from outside is raised."""
        argument = arguments if self._function.binding.batch else arguments[0]

        def start() -> Any:
            for entry in entries:  # here, as a call may wait long for its thread
                entry.started = True
            return self._function.handler(argument)

        began = time.perf_counter()
        try:
            if self._threads is not None:
                result = await asyncio.get_running_loop().run_in_executor(self._threads, start)
            else:
                result = start()
            if inspect.isawaitable(result):  # from a thread too: a plain wrapper may return its function's coroutine
                await result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return error
        except BaseException as error:  # noqa: BLE001  (even SystemExit of a handler concerns its entry only)
            return error
        finally:
            self._meter.duration.observe(time.perf_counter() - began)
        return None
