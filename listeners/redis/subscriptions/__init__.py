"""Pub/sub subscriptions: what they share, at one server, and at every primary of a cluster.

- `subscription`: what every subscription does, and a message
- `node_subscription`: a subscription at one server
- `cluster_subscription`: subscriptions at every primary of a cluster
"""
