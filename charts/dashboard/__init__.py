"""The chart's Grafana dashboard, as code; `make dashboard` writes charts/triggerfish/dashboards/triggerfish.json."""
