"""Servers that fail: the protocol of scenarios (`scenario`), and one module for each scenario."""
