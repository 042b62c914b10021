"""Tests of scaler.web: the HTTP endpoints, and the status page in a browser."""
