"""Helpers for tests.

- `running_host`, `running_scaler`: a host or a scaler in the test's process
- `programs`: hosts and commands in separate processes, their environment and memory, and programs that some tests need
- `network`: servers that seem remote, reply as a test wants, or use TLS; slow links
- `waiting`: waits for conditions
- `trigger_kinds`, `letters`, `measuring`: helpers for lists and streams; for dead letters; for backlogs
- `kubernetes_api`, `schemas`: a fake API server; validation of manifests

Helpers import the product, `tests.servers` and `tests.apps`, but no tests.
"""
