"""Servers that fail.

- `scenario`: the protocol of scenarios
- `standalone`, `under_sentinel`, `on_cluster`: one server, a primary with replicas, a cluster
- `stepping_clock`, `flushed`: one server whose clock steps; one that loses everything at times
- `nodes`: faults of single servers
"""
