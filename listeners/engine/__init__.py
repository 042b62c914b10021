"""Runs one function: takes entries from its source, calls the function, and settles the entries.

- `listener`: takes entries, starts calls, and drains
- `source`: the protocols that each kind of trigger implements
- `appetite`: how many entries to ask for at once
- `in_progress`: entries that are taken and not settled yet
- `calling`: runs the calls of a function, within a time limit
- `settler`: settles what has finished, and takes new entries in the same step
- `settlement`: what became of an entry
- `retry_policy`: what happens to an entry whose call failed
- `failures`: why a call failed, in bounds, and the log of failures
- `suspects`: calls entries that came back without an outcome, each alone in its process
- `lease_keeper`: renews leases on another thread
- `resilient_loop`: repeats a step through Redis failures, with back-off
- `metrics`: the host's Prometheus metrics

It may import `functions`, `connections`, `runtime` and the single modules of `listeners`.
"""
