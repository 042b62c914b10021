"""The demo (`make demo`).

- `app`: the app
- `__main__`: runs a server, the app and a burst of entries, and checks that nothing is lost
"""
