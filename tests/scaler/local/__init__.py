"""Tests of scaler.local: an app scaled as real processes."""
