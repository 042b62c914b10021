"""Access to Redis: one client for a server, a primary behind Sentinels, or a cluster.

- `acl`: the ACL rule that grants an app what it needs
- `client`: routes each command to the node that has its key
- `dialer`: how connections are opened
- `entry_id`: stream entry IDs
- `error_translation`: from errors of redis-py and the network to SourceErrors
- `keyspace`: the keyspace notifications that a server must publish
- `outages`: which keys to do without, and what to do about answers that were lost
- `pipeline`: one connection with many outstanding calls
- `reply_bounds`: which replies are refused before they take memory
- `scripts`: Lua scripts
- `sentinels`: finds the primary
- `server_info`: what a server is, and which commands it has
- `shared_connections`: the connections to a server that all callers share
- `subscriptions`: pub/sub, at one server and at every primary of a cluster
- `topology`: the nodes of a cluster and their slots

It may import `functions`, `connections`, `runtime` and the single modules of `listeners`.
"""
