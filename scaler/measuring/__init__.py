"""Backlogs: how they are measured, and how measurements are shared and bounded.

- `sampler`: coalesces concurrent measurements of one Redis, and caches samples
- `untrusted_servers`: samplers that set apart the servers that requests name by connection strings
- `outage`: the back-off for a Redis that does not respond
- `measure`: measures the triggers of one Redis in one round trip
- `queries`: the commands that measure one key, and how to read their replies
- `counting`: counts undelivered entries where Redis reports no reliable lag
- `dead_letters`: counts dead letters, now and then
- `lag`: the lag of a consumer group, where it is known without counting
- `readable`: refuses backlogs that no Redis has
- `backlog`: the backlog of a trigger, by key

It may import `scaler.triggers`, `scaler.settings` and the lower layers of `listeners`.
"""
