"""What functions raise in tests."""

import asyncio

__all__ = ["RAISED", "ExitOnTextError", "InterruptOnTextError"]

RAISED: list[type[BaseException]] = [
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    StopIteration,
    StopAsyncIteration,
    BaseException,
]


class ExitOnTextError(Exception):
    """An exception whose text cannot be read."""

    raised: type[BaseException] = SystemExit

    def __str__(self) -> str:
        raise self.raised


class InterruptOnTextError(ExitOnTextError):
    """Another one."""

    raised = KeyboardInterrupt
