"""The function host: runs an app as a process.

- `host`: runs every function until the process is signalled
- `clients`: the clients of each Redis that all functions share
- `lifespan`: enters the app's lifespan before the first entry, and leaves it after the last call
- `instance`: the name of this instance
- `sources`: creates the source of each trigger
- `supervisor`: a second thread, which renews leases, answers probes and watches the first
- `watchdog`: notices when a function blocks the event loop
- `http`: serves /metrics, /livez and /readyz
- `permissions`: the Redis commands, keys and channels that each function needs

It may import every other package of `listeners` except `checks`.
"""
