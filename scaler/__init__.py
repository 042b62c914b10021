"""Triggerfish's scale controller: measures backlogs, decides how many instances should run, and reports that to KEDA.

Packages, from the top layer down; each may import those below it:

- `local_app`: a scaler and an app's processes on one machine
- `server`: runs the scaler
- `keda`, `web`: what KEDA asks over gRPC; what Prometheus and people ask over HTTP
- `local`, `monitoring`: processes on one machine; metrics and JSON
- `push`: pushed activation
- `evaluation`: from a backlog to a target
- `manifests`, `measuring`, `access`: Kubernetes YAML; backlogs; which Redis a request may use
- `triggers`: what a ScaledObject or an app declares
- `settings`: everything that can be set

It imports the lower layers of `listeners` only: what a trigger is, where Redis is, and how to talk to it.
"""
