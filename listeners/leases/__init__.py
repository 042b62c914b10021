"""Leases: at most one instance at a time subscribes for a pub/sub function.

- `lease`: the protocol that both kinds of lease implement
- `redis_lease`: a lease in Redis
- `handover`: passes a lease in Redis to another instance without a gap
- `kubernetes_lease`: a lease in Kubernetes; the only module that imports its client
- `acquire.lua`, `release.lua`, `offer.lua`, `take_over.lua`: the steps of a lease in Redis and its handover

It may import `engine`, `redis` and the layers below, but not `dead_letters`.
"""
