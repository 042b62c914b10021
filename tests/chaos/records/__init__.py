"""What is known of a run.

- `calls`: what processes recorded of their calls
- `fates`: what functions do with each payload
- `letters`, `leftovers`: dead letters, and what else is left on the servers
"""
