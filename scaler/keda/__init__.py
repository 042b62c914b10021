"""KEDA's external scaler protocol over gRPC: the server, and a client that makes KEDA's calls.

- `grpc_server`: the gRPC server, with health checks and reflection
- `service`: answers KEDA's calls and streams
- `call_status`: from an error to a gRPC status
- `bounded_requests`: bounds the options of a request
- `open_streams`: bounds what open streams keep in memory
- `certificates`: TLS, with certificates that may be replaced
- `probe`: makes KEDA's calls to a running scaler
- `autoscalers`: reads the HPAs that KEDA made
- `call_report`: the outcome of a call of `probe`
- `externalscaler_pb2`, `externalscaler_pb2_grpc`: generated from externalscaler.proto

It may import `scaler.push`, `scaler.monitoring` and the layers below them.
"""

import os

# grpc reads both when it is imported. Instances are started by fork and exec, so gRPC must not prepare for a child that
# keeps using it. Its C core would also write errors to stderr that we report ourselves, such as a port in use.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
