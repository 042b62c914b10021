"""Benchmark of the scaler (`make bench-scaler`).

- `measuring`: measures one number of ScaledObjects
- `polling`, `activation`: polls, and activation latency
- `scaled_objects`: the ScaledObjects and their keys
- `keda`: a client that calls the scaler as KEDA does
- `peers`: the commands of KEDA's own redis scalers
- `process`, `meter`: the scaler's process; what it and Redis spend
- `results`, `about`: the results; where and when they were measured
- `tables`, `plot`, `documents`: write docs/benchmarks/scaler.*

It imports `benchmarks`, but not `benchmarks.peers`.
"""
