"""Maps errors to the gRPC statuses that KEDA receives."""

import asyncio
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
from listeners.runtime.logs import steady_logger
from listeners.text import shortened

__all__ = ["STATUS_CODES", "CallStatus", "Context", "UnknownMetricError"]

log = steady_logger("triggerfish.scaler")

Context = grpc.aio.ServicerContext[object, object]
MAX_DETAIL_CHARACTERS = 1000


class UnknownMetricError(TriggerfishError):
    """A metric name that is not one of this scaler's."""


#: The first class that matches decides.
STATUS_CODES: tuple[tuple[type[TriggerfishError], grpc.StatusCode], ...] = (
    (UnknownMetricError, grpc.StatusCode.NOT_FOUND),
    (ConnectionNotAllowedError, grpc.StatusCode.PERMISSION_DENIED),
    (UnknownConnectionError, grpc.StatusCode.FAILED_PRECONDITION),
    (UnusableConnectionError, grpc.StatusCode.FAILED_PRECONDITION),
    (ConnectionStringError, grpc.StatusCode.FAILED_PRECONDITION),
    (ConfigurationError, grpc.StatusCode.INVALID_ARGUMENT),
    (SourceError, grpc.StatusCode.UNAVAILABLE),
)


class CallStatus:
    """Wraps one call in an `async with` block: an error in it ends the call with the error's gRPC status.

    Every call is counted in `requests`, by method and status. An unexpected error is logged, and its details are
    withheld from the caller.
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
        detail = shortened(str(error), MAX_DETAIL_CHARACTERS)
        if not isinstance(error, TriggerfishError):
            log.error("unexpected error while answering %s", self._method, exc_info=error)
            detail = "Internal error. See the scaler's log."
        await self._context.abort(code, detail)


def _code(error: BaseException | None) -> grpc.StatusCode:
    if error is None:
        return grpc.StatusCode.OK
    if isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.CANCELLED
    return next((code for kind, code in STATUS_CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
