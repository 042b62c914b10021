"""Monitoring: Prometheus metrics, and the status of triggers.

- `metrics`: events, such as KEDA's calls, and the intervals of pushed activation
- `trigger_metrics`: the series of each trigger
- `peer_trigger`: a tracked trigger as one scaler sends it to another
- `status`: a trigger's state, for JSON, tables and the status page

It may import `scaler.push`, `scaler.evaluation` and the layers below them.
"""
