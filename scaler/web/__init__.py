"""The scaler over HTTP: metrics, probes, triggers as JSON, and the status page.

- `routes`: the endpoints
- `peers`: asks the other scalers for their triggers
- `page`, `pages`: the status page; its template, style and script
- `backlog_chart`: a trigger's recent backlog as a line chart
- `streaming`: long responses that leave the event loop free for others

It may import `scaler.push`, `scaler.monitoring` and the layers below them.
"""
