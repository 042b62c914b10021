"""The benchmark of the function host; run as a module it measures everything and writes docs/benchmarks/host.md.

- `throughput`: entries per second of one process, beside the programs in `contenders`
- `processes`: throughput of several processes that share a list or a stream
- `latency`: time from sending a message to its function's call
- `busy`: throughput of one host with many busy triggers, beside another version of Triggerfish
- `idle`: cost of idle triggers
- `busy_app`, `idle_app`, `latency_app`, `raw_loops`: programs that `busy`, `idle` and `latency` run
- `scenarios`: ways of reading a backlog
- `quantiles`: p50 and p99
"""
