"""Tests of scaler.keda: the calls and streams of KEDA over real gRPC."""
