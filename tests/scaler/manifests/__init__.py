"""Tests of scaler.manifests: the YAML that `triggerfish manifest` writes and compares."""
