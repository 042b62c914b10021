"""The scaler beside the real queue libraries: producers and workers of `benchmarks.queues` run on real servers."""
