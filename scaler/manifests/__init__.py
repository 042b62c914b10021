"""Kubernetes YAML for an app, from what the app declares.

- `rendering`: writes manifests, or values for the Helm chart
- `drift`: compares such a file with the app's current declaration

It may import `scaler.triggers`, `scaler.settings` and the lower layers of `listeners`.
"""
