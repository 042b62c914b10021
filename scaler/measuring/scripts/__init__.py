"""The Lua scripts that measure streams; `scaler.measuring.queries` runs them.

- `state`: what is known of a stream and one of its groups, and optionally the first pages of its entries
- `pages`: the next pages of undelivered and delivered entries
- `states`: what is known of several streams
- `shared`: functions that the others use
"""
