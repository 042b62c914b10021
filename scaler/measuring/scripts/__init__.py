"""The Lua scripts that measure a stream; `scaler.measuring.queries` runs them.

- `state`: what is known of a stream and one of its groups, and optionally the first pages of its entries
- `pages`: the next pages of undelivered and delivered entries
- `shared`: functions that both use
"""
