"""Dead letters of lists and streams.

- `letters`: what a dead letter contains, and how dead letters are listed, requeued and purged
- `permissions`: the commands that a Redis user needs for `triggerfish dead`
- `requeue.lua`: puts an entry back and removes its dead letter in one step

It may import `redis`, `functions`, `connections`, `runtime` and the single modules of `listeners`.
"""
