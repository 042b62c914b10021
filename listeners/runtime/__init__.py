"""Building blocks that depend neither on Redis nor on functions.

- `backoff`: exponential back-off with jitter
- `bounded_yaml`: YAML whose aliases are bounded
- `child_processes`: child processes that do not outlive their parent, and tell it that they run
- `clock`: the clock for leases
- `code_locations`: the line of user code where something happened, and tracebacks without our frames
- `deadlines`: many deadlines with one timer
- `extras`: optional packages
- `files`: small files that may be replaced while the process runs
- `http`: HTTP servers and probe routes
- `logs`: steady loggers, and the formats of log lines
- `process_exit`: the end of a process that does not wait for its threads
- `signals`: handlers for SIGTERM and SIGINT
- `tasks`: bounded waits for events and cancelled tasks
- `threads`: blocking work on threads that nothing else needs

It may import only the single modules of `listeners`.
"""
