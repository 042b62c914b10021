"""Support for tests: an embedded server."""
