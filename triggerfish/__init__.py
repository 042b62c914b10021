"""Triggerfish: the public names and the command line."""
