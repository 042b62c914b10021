"""The gRPC status that each error means to KEDA."""

import asyncio
import logging
from types import TracebackType

import grpc
from prometheus_client import Counter

from listeners.errors import (
    ConfigurationError,
    ConnectionNotAllowedError,
    ConnectionStringError,
    SourceError,
    TriggerfishError,
    UnknownConnectionError,
    UnusableConnectionError,
)

__all__ = ["CallStatus", "Context", "UnknownMetricError"]

log = logging.getLogger("triggerfish.scaler")

Context = grpc.aio.ServicerContext[object, object]
MAX_DETAIL_CHARACTERS = 1000


class UnknownMetricError(TriggerfishError):
    """A metric name that is none of ours."""


#: The first class that fits decides.
_CODES: tuple[tuple[type[TriggerfishError], grpc.StatusCode], ...] = (
    (UnknownMetricError, grpc.StatusCode.NOT_FOUND),
    (ConnectionNotAllowedError, grpc.StatusCode.PERMISSION_DENIED),
    (UnknownConnectionError, grpc.StatusCode.FAILED_PRECONDITION),
    (UnusableConnectionError, grpc.StatusCode.FAILED_PRECONDITION),
    (ConnectionStringError, grpc.StatusCode.FAILED_PRECONDITION),
    (ConfigurationError, grpc.StatusCode.INVALID_ARGUMENT),
    (SourceError, grpc.StatusCode.UNAVAILABLE),
)


class CallStatus:
    """Answers one call in an `async with` block: an error ends the call with the status that it means.

    Every call is counted in `requests`, by method and status. An error that nobody expected is logged, and the caller
    learns nothing about it.
    """

    def __init__(self, method: str, context: Context, requests: Counter) -> None:
        self._method = method
        self._context = context
        self._requests = requests

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = _code(error)
        self._requests.labels(self._method, code.name).inc()
        if error is None or code is grpc.StatusCode.CANCELLED:
            return
        detail = str(error)[:MAX_DETAIL_CHARACTERS]
        if not isinstance(error, TriggerfishError):
            log.error("%s failed in a way that was not foreseen", self._method, exc_info=error)
            detail = "The scaler failed; its log says how."
        await self._context.abort(code, detail)


def _code(error: BaseException | None) -> grpc.StatusCode:
    if error is None:
        return grpc.StatusCode.OK
    if isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.CANCELLED
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
