"""Benchmarks of the function host (`make bench`).

- `host`: runs all of the following and writes docs/benchmarks/host.md
- `throughput`: entries per second of one process
- `processes`: throughput of several processes that share a list or a stream
- `latency`: time from sending a message to its function's call
- `idle`: cost of idle triggers
- `contenders`: the programs that `throughput` compares
- `idle_app`, `latency_app`, `raw_loops`: programs that `idle` and `latency` run
- `scenarios`: ways of reading a backlog
- `about`, `quantiles`, `tables`: helpers for all benchmarks
- `peers`: comparison with other libraries (`make bench-peers`)
- `scaler`: benchmark of the scaler (`make bench-scaler`)

Benchmarks may import any package of the project; no package imports them, except tests.
"""
