"""Pushed activation: sends KEDA `true` on its open streams when a trigger becomes active.

- `hub`: the triggers with open streams, and one loop for each Redis that they read
- `loop`: checks the triggers of one Redis, when it reports a change or within a budget of commands
- `subscribers`: the open streams of a trigger, and when each is due a `true`

It may import `scaler.evaluation` and the layers below it.
"""
