"""Tests of the Helm chart and the image, with manifests rendered by Helm's own engine.

- `rendering`: renders and lints the chart
- `bad_values`: values that the chart must reject
- `control_plane`: a fake of KEDA's operator and of the API server's HPAs
- `containers`: runs rendered pods as local processes
- `objects`: tests of the properties of rendered objects, by topic
- `reference`: generates the chart's README table and parts of its schema
- `__main__`: `make charts`, a report of everything that the chart renders and rejects
"""
