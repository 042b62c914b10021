"""The chart's Grafana dashboard as code.

- `layout`: the dashboard's variables, rows and panels
- `panels`: functions that build one panel each
- `queries`: PromQL expressions
- `__main__`: writes `charts/triggerfish/dashboards/triggerfish.json` (`make dashboard`)

`layout` imports `panels` and `queries`. No module imports `triggerfish`, `scaler` or `listeners`.
"""
