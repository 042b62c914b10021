"""Backlogs: how they are measured, and how measurements are shared and bounded.

      sampler: coalesces the requests of one Redis into rounds
         |
      measure: the fast lane, one round trip for all lists and queues, and for streams that were cheap last time
         |                                        |
         | results at once                        | streams that are unknown, costly, or have to be counted
         v                                        v
      requests  <---- as each is known ----  slow_lane: step by step, each about 10 ms of the server's time

No entry crosses the wire in either lane: lists have lengths, and the `scripts` return numbers and IDs of streams.

- `samplers`: one sampler for each Redis, and those that requests name by connection strings apart
- `sampler`: coalesces concurrent measurements of one Redis, and caches samples
- `outage`: the back-off for a Redis that does not respond, and errors of requests without a result in time
- `measure`, `slow_lane`: the two lanes
- `watched_samples`: samples that stay true while Redis would report any change
- `verifying`: measures triggers at rest again
- `known_streams`: what streams cost, and results that are kept
- `queries`: the commands that measure one key, and how to read their replies
- `counting`: measures one stream step by step, and counts undelivered entries where Redis reports no reliable lag
- `lag`: the lag of a consumer group, where it is known without counting
- `queues`: what is measured of queues of other libraries
- `dead_letters`: counts dead letters, now and then
- `readable`: refuses backlogs that no Redis has
- `backlog`: the backlog of a trigger, by key

It may import `scaler.triggers`, `scaler.settings` and the lower layers of `listeners`.
"""
