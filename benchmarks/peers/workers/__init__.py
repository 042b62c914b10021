"""One program for each peer, run by the interpreter of that peer's own environment.

    python -m benchmarks.peers.workers.NAME fill    put BENCH_ENTRIES entries there, with the peer's own client
    python -m benchmarks.peers.workers.NAME work    handle them until it is killed, and report as `Tally` does

They get BENCH_URL, BENCH_SCENARIO (`Scenario.name`: what is read, and how many at one time) and BENCH_ENTRIES. What
costs a peer time and is not needed is off: logs, and storing of results. uvloop is on where the peer is made for it.
"""
