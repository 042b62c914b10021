"""Reads list triggers.

- `source`: reads the lists of one trigger, key by key, as the engine's source
- `delivery`: how elements are taken and settled, at least once or at most once
- `permissions`: the commands that a Redis user needs
- `take.lua`, `settle.lua`, `dead_letter.lua`: the steps of at-least-once delivery; `common.lua` is prepended to each

It may import `engine`, `dead_letters` and the layers below, but neither `streams` nor `pubsub`.
"""
