"""Dead letters of lists and streams.

- `letters`: what a dead letter contains
- `store`: how the dead letters of a function are listed, requeued and purged
- `permissions`: the commands that a Redis user needs for `triggerfish dead`
- `add.lua`: adds a dead letter within the bounds of its key; used by the scripts of lists and streams
- `page.lua`: reads the descriptions of dead letters
- `requeue.lua`: puts an entry back and removes its dead letter in one step

It may import `engine`, `redis`, `functions`, `connections`, `runtime` and the single modules of `listeners`.
"""
