"""Ours beside the libraries that one would pick instead, each in an environment of its own (`make bench-peers`)."""
