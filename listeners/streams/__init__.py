"""Reads stream triggers.

- `source`: reads the streams of one trigger as one consumer of a group, as the engine's source
- `consumer`: the commands of that consumer
- `permissions`: the commands that a Redis user needs
- `keep.lua`, `dead_letter.lua`, `remove_consumer.lua`: steps that check what is pending and act on it atomically

It may import `engine`, `dead_letters` and the layers below, but neither `lists` nor `pubsub`.
"""
