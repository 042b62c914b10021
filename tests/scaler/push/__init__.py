"""Tests of scaler.push: activation that is pushed to the open streams of KEDA."""
