"""Reads pub/sub triggers.

- `source`: subscribes, in every instance or only in the holder of a lease, as the engine's source
- `queue`: the bounded queue between the subscription and the function
- `permissions`: the commands, keys and channels that a Redis user needs

It may import `leases`, `dead_letters` and the layers below, but neither `lists` nor `streams`.
"""
