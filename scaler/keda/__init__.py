"""KEDA's external scaler protocol: the gRPC service, its server and certificates, and a client that plays KEDA."""

import os

# Both are read when grpc is imported. Instances are started by fork and exec, so gRPC must not prepare for a child that
# goes on using it; and its C core would write to stderr what our own errors say, such as a port in use.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
