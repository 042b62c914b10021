"""Bounds the memory and time that the maps of requests take: parsed, a map of small entries is ten times as large."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from scaler.keda import externalscaler_pb2 as pb
from scaler.triggers.metadata import MAX_METADATA_KEYS, METRIC_PREFIX

__all__ = ["BoundedRequests"]

#: The byte before each entry of a request's only map.
ENTRY = b"\x1a"
#: It also stands for a length of 26 bytes, of which each entry has three: of itself, its key and its value.
MAX_OCCURRENCES = 4 * (MAX_METADATA_KEYS + 1)
#: What is handled in place of a request with more entries. It is refused for having one too many.
REFUSED = pb.ScaledObjectRef(scalerMetadata={str(number): "" for number in range(MAX_METADATA_KEYS + 1)})
REFUSED_METRICS = pb.GetMetricsRequest(scaledObjectRef=REFUSED, metricName=METRIC_PREFIX)

Parse = Callable[[bytes], Any]


class BoundedRequests(grpc.aio.ServerInterceptor):
    """Does not parse a request whose map has far too many entries, but handles one that is refused for it."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the handler of a call, with a bound if its request has a map."""
        handler = await continuation(handler_call_details)
        if handler is not None and handler.request_deserializer in _REFUSED:
            handler = handler._replace(request_deserializer=_bounded(handler.request_deserializer))
        return handler


_REFUSED: dict[Parse, Any] = {
    pb.ScaledObjectRef.FromString: REFUSED,
    pb.GetMetricsRequest.FromString: REFUSED_METRICS,
}


def _bounded(parse: Parse) -> Parse:
    refused = _REFUSED[parse]
    return lambda data: refused if data.count(ENTRY) > MAX_OCCURRENCES else parse(data)
