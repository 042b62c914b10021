"""Tests of the package triggerfish: its public API, shadowed packages and, in `cli`, the command line."""
