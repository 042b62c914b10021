"""Tests of scaler.monitoring: metrics, and triggers as JSON."""
