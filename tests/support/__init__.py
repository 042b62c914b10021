"""Helpers for tests.

- `running_host`, `running_scaler`: a host or a scaler in the test's process
- `processes`: hosts in separate processes
- `environment`: the environment of processes
- `waiting`: waits for conditions
- `trigger_kinds`, `letters`: helpers for lists and streams; for dead letters
- `commands`: commands of the command line that run during a test
- `outside_servers`, `tls_proxy`, `certificates`: servers that seem remote; TLS
- `scripted_server`: a server whose replies a test chooses
- `kubernetes_api`, `schemas`: a fake API server; validation of manifests
- `programs`: programs that some tests need

Helpers import the product, `tests.servers` and `tests.apps`, but no tests.
"""
