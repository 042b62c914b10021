"""Tests of the benchmarks: what their tables and pages contain, and that they run."""
