"""Grpc server: moved out of another file; say what belongs here."""

import os

# Instances are started by fork and exec: gRPC must not prepare for a child that goes on with it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# Its C core writes to stderr what we say ourselves, such as a port in use.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


SERVICE_NAME = "externalscaler.ExternalScaler"


GRPC_OPTIONS = (
    # KEDA keeps thousands of streams on one connection, and pings it.
    ("grpc.max_concurrent_streams", 100_000),
    # After a restart all of them come at one time. By default gRPC cancels some when a thousand wait to be taken up, or
    # one that has waited for 30 s.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    ("grpc.server_max_unrequested_time_in_server", 300),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 1024 * 1024),
    # A second scaler on the same port must fail, not share it.
    ("grpc.so_reuseport", 0),
)
