"""Pub/sub subscriptions: what they share, at one server, and at every primary of a cluster.

- `subscription`: what every subscription does, and a message
- `node_subscription`: a subscription at one server
- `cluster_subscription`: subscriptions at every primary of a cluster
- `connection`: the connection to one server, which all subscriptions there share
- `topics`: who gets the messages of a channel or pattern
- `shared`: the connections of one client
"""
