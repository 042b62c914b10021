"""Compares the function host with other libraries, each in its own virtual environment (`make bench-peers`).

- `session`: one run of the benchmark
- `measuring`: measures one process
- `entrants`: what is measured
- `environments`: virtual environments of the peers, from the pins in requirements/
- `workers`: the peers' programs
- `backlog`: backlogs in each peer's format
- `floor`: redis-benchmark as a baseline
- `results`: results and the ratios computed from them
- `tables`, `plot`, `document`, `about`: write docs/benchmarks/peers.md

It imports `benchmarks`, but not `benchmarks.scaler`.
"""
