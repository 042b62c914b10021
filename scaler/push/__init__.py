"""Pushed activation: sends KEDA `true` on its open streams when a trigger becomes active.

- `hub`: the triggers with open streams, and one loop for each Redis that they read
- `loop`: checks the triggers of one Redis, within a budget of commands
- `keyspace_listener`: listens for keyspace notifications, which lead to checks out of turn
- `subscribers`: the open streams of a trigger, and when each is due a `true`

It may import `scaler.evaluation` and the layers below it.
"""
