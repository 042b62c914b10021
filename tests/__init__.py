"""The tests.

- `triggerfish`, `listeners`, `scaler`: tests of the package of the same name
- `charts`, `monitoring`: tests of the Helm chart, and of its alerts and dashboard
- `docs`, `examples`, `benchmarks`, `packaging`: tests of the documentation, the demo, the benchmarks and the wheel
- `chaos`: random faults, and proof that nothing is lost
- `support`, `servers`, `apps`: helpers; real servers; apps that tests run
"""

import os

# gRPC's fork handlers must be off, because servers are started by fork and exec while gRPC runs.
# grpc reads the variable when it is imported, so it is set before that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
