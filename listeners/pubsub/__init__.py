"""Reads pub/sub triggers.

- `source`: the engine's source, which passes messages from the subscription to the function
- `states`: the states of an instance and the transitions between them
- `role`: acquires, renews, takes over and passes on the lease, and subscribes accordingly
- `receiver`: the connection that is subscribed
- `queue`: the bounded queue between the subscription and the function
- `drops`: counts and logs dropped messages
- `permissions`: the commands, keys and channels that a Redis user needs

It may import `leases`, `dead_letters` and the layers below, but neither `lists` nor `streams`.
"""
