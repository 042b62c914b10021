"""Apps that are loaded again when their files change, as real processes."""
