"""One program for each peer, run by the interpreter of the peer's environment.

    python -m benchmarks.peers.workers.NAME fill    add BENCH_ENTRIES entries with the peer's own client
    python -m benchmarks.peers.workers.NAME work    handle entries until killed, and report as `Tally` does

The programs get BENCH_URL, BENCH_SCENARIO (`Scenario.name`: source and concurrency) and BENCH_ENTRIES; `parameters`
reads these. Logging and result storage are off because they cost time. uvloop is on where the peer supports it.

The programs may import only the peer, `benchmarks.host.scenarios` and `benchmarks.host.contenders.tally`: the peer's
environment lacks the project's dependencies.
"""
