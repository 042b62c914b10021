"""Tests. Servers are started by fork and exec, also while gRPC runs: it must not prepare for a child that goes on."""

import os

# Before anything imports grpc, which reads it then.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
