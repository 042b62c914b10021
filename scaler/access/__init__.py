"""Access: which Redis a request may use.

- `access`: the connections and their limits
- `connection_files`: reloads connections when their files change

It may import `scaler.triggers`, `scaler.settings` and the lower layers of `listeners`.
"""
