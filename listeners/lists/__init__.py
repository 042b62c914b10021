"""Reads list triggers.

- `source`: reads the lists of one trigger, key by key, as the engine's source
- `delivery`: the protocol of both deliveries
- `at_least_once`: leases elements until they are settled
- `adoption`: adopts elements whose taking was not answered
- `at_most_once`: pops elements
- `scripts`: the Lua scripts; `common.lua` describes the records of elements in flight
- `permissions`: the commands that a Redis user needs

It may import `engine`, `dead_letters` and the layers below, but neither `streams` nor `pubsub`.
"""
