"""Reads stream triggers.

- `source`: reads the streams of one trigger as one instance, as the engine's source
- `consumer`: the commands that read, acknowledge and dead-letter entries, and that manage groups and consumers
- `unanswered`: the reads whose answers were lost
- `adoption`: adopts the entries that such reads have delivered
- `claims`: moves pending entries between consumers; which consumer holds an entry tells its state (`listeners.keys`)
- `held`: the entries that this process holds, and how they are settled
- `retries`: entries that wait for their next call
- `reclaiming`: entries whose lease is over
- `leases`: renews the leases of entries in progress
- `permissions`: the commands that a Redis user needs
- `scripts`: the Lua scripts

It may import `engine`, `dead_letters` and the layers below, but neither `lists` nor `pubsub`.
"""
