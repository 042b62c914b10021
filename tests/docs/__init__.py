"""Tests of the documentation: its examples work, the names in it exist, and its generated pages are current."""
