"""Tests of the support for tests."""
