"""What a function may take beside its bindings' values: func.Out and func.Context, which azure.functions only declares.

The host of Azure Functions supplies objects with these attributes, and so does this module. It does not import
azure.functions.
"""

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Invocation", "Out", "RetryContext", "invocation"]


class Out:
    """Takes the value of an output binding. The last one that is set counts."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        """Set the value."""
        self._value = val

    def get(self) -> Any:
        """Return the value."""
        return self._value


@dataclass(frozen=True)
class RpcException:
    """The exception of the last call. Its text is in the log and in the dead letter only."""

    source: str = ""
    stack_trace: str = ""
    message: str = ""


@dataclass(frozen=True)
class RetryContext:
    """Which call with the entry this is, counted from 0, and how many may follow the first."""

    retry_count: int
    max_retry_count: int
    rpc_exception: RpcException = RpcException()


@dataclass(frozen=True)
class TraceContext:
    """A trace of the call. There is none."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    #: The names in older versions of the worker.
    Traceparent = property(lambda self: self.trace_parent)
    Tracestate = property(lambda self: self.trace_state)
    Attributes = property(lambda self: self.attributes)


@dataclass(frozen=True)
class Invocation:
    """One call, with the attributes of func.Context."""

    invocation_id: str
    function_name: str
    function_directory: str
    retry_context: RetryContext
    thread_local_storage: threading.local
    trace_context: TraceContext = TraceContext()


_storage = threading.local()


def invocation(function_name: str, function_directory: str, retry_context: RetryContext) -> Invocation:
    """Return the context of a new call, which the thread that runs it has as its own."""
    found = Invocation(str(uuid.uuid4()), function_name, function_directory, retry_context, _storage)
    _storage.invocation_id = found.invocation_id
    return found
