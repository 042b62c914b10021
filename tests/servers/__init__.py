"""Real servers for tests.

- `catalogue`: the releases, and where their binaries are
- `fetch`: fetches them into .servers (`make servers`)
- `cluster`, `sentinels`, `secured`: a cluster; Sentinels; a server with TLS
- `stepping_clock`: a server whose clock a test can step
"""
