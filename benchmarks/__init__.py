"""Benchmarks. They may import any package of the project; no package imports them, except tests.

- `host`: the function host beside hand-written loops (`make bench`)
- `scaler`: the scaler beside KEDA's own Redis scalers (`make bench-scaler`)
- `peers`: the host beside other libraries (`make bench-peers`)
- `about`, `tables`: helpers for all benchmarks
"""
