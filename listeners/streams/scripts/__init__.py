"""The Lua scripts of streams: steps that check what is pending and act on it atomically.

`pending.lua` is prepended to `move`, `claim`, `acknowledge` and `dead_letter`.
"""
