"""Tests of the chart's Prometheus rules and Grafana dashboard.

- `rules/`: promtool's unit tests of the rules
- `files`, `expressions`: the rules and the dashboard, and the PromQL in them
- `stage`, `prometheus`, `kube_state_metrics`: a running system, and a Prometheus that scrapes it
- `picture`, `drawing`: `make dashboard`, which draws the picture of the dashboard for the docs
"""
