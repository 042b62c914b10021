"""Runs one function: takes entries from its source, calls the function, and settles the entries.

- `listener`: takes entries, starts calls and settles the results, with back-pressure
- `source`: the protocol that each kind of trigger implements
- `executor`: runs the calls of a function, within a time limit
- `task_pool`: reused asyncio tasks for calls
- `in_progress`: entries that are taken and not settled yet
- `retry_policy`: what happens to an entry whose call failed
- `resilient_loop`: repeats a step through Redis failures, with back-off
- `code_locations`: the line of user code where a call failed
- `metrics`: the host's Prometheus metrics

It may import `functions`, `connections`, `runtime` and the single modules of `listeners`.
"""
