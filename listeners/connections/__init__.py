"""Connections: where Redis is, how to connect to it, and with which credentials.

- `allowed_hosts`: patterns for the hosts that a connection may lead to
- `azure`: the domains in which Azure has Redis
- `connections_dir`: named connections from a folder, such as a mounted Secret
- `credentials`: password files and Entra ID tokens
- `likely_mistakes`: the likely mistake behind a failed connection
- `named`: the default connection and the named ones
- `options`: the options of StackExchange.Redis strings
- `resolver`: looks up the addresses of host names
- `settings`: what can be set for a named connection
- `spec`: one Redis, as a connection describes it
- `strings`: connection strings, in both forms
- `tls`: the TLS context of a connection

It may import `runtime` and the single modules of `listeners`.
"""
